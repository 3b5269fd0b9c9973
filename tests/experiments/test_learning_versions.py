"""Versions of policies: numbered without gaps, immutable, alone where one must be alone, their files checked."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa

from experiments.learning import versions
from experiments.learning.versions import NewVersion, VersionError
from experiments.store import Store
from experiments.store.policy_tables import policies, policy_files


def new(body: bytes = b"one", **other: object) -> NewVersion:
    given: dict[str, object] = {
        "experiment": "winback", "body": body, "policy": "igw", "trained_at": 1_000, "data_until": 900, "rows": 12,
        "about": {"counts": {"control": 5, "a": 7}},
    }  # fmt: skip
    return NewVersion(**(given | other))  # type: ignore[arg-type]


def test_versions_are_numbered_by_experiment_and_read_as_they_were_made(store: Store) -> None:
    with store.begin() as connection:
        assert versions.insert(connection, new()) == 1
        assert versions.insert(connection, new(b"two", trained_at=2_000)) == 2
        assert versions.insert(connection, new(experiment="other")) == 1
    with store.read() as connection:
        first, second = versions.read(connection, "winback")
        assert (first.state, second.state) == ("replaced", "candidate")  # one candidate at a time
        assert (second.version, second.share, second.rows, second.data_until) == (2, "0", 12, 900)
        assert second.about == {"counts": {"control": 5, "a": 7}}
        assert second.gate == {}
        assert versions.body(connection, second.sha256) == b"two"
        assert second.sha256 == hashlib.sha256(b"two").hexdigest()
        assert (
            connection.execute(sa.select(sa.func.count()).select_from(policy_files)).scalar() == 2
        )  # b"one" is shared


def test_nothing_is_left_of_a_version_whose_transaction_does_not_end(store: Store) -> None:
    def interrupted() -> None:
        with store.begin() as connection:
            versions.insert(connection, new())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    with store.read() as connection:
        for table in (policies, policy_files):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0


def test_one_is_live_and_a_later_one_replaces_it(store: Store) -> None:
    with store.begin() as connection:
        for at in range(2):
            versions.insert(connection, new(str(at).encode()))
            versions.move(connection, "winback", at + 1, "ramping", share="0.1", gate={"passed": True}, now=5 + at)
            versions.move(connection, "winback", at + 1, "ramping", share="0.5", now=6 + at)
            versions.move(connection, "winback", at + 1, "live", now=7 + at)
        first, second = versions.read(connection, "winback")
    assert (first.state, first.share, first.changed_at) == ("replaced", "0", 8)
    assert (second.state, second.share, second.gate) == ("live", "1", {"passed": True})
    with store.begin() as connection:  # rolled back: the earlier one draws again
        versions.move(connection, "winback", 2, "rolled_back", now=20)
        versions.move(connection, "winback", 1, "live", now=20)
        there = versions.read(connection, "winback")
    live = versions.standing(there, "live")
    assert live is not None
    assert live.version == 1
    assert [each.state for each in there] == ["live", "rolled_back"]


@pytest.mark.parametrize(
    ("through", "to"),
    [
        (["rejected"], "live"),
        (["live"], "ramping"),
        (["live", "rolled_back"], "waiting"),
        (["blocked", "rejected"], "waiting"),
    ],
)
def test_a_version_goes_only_where_it_can(store: Store, through: list[versions.State], to: versions.State) -> None:
    with store.begin() as connection:
        versions.insert(connection, new())
        for state in through:
            versions.move(connection, "winback", 1, state, share="0.1", now=5)
        with pytest.raises(VersionError, match=f"is {through[-1]} and cannot become {to}; from there it can become"):
            versions.move(connection, "winback", 1, to, share="0.1", now=6)


def test_what_is_not_there_is_said(store: Store) -> None:
    with store.begin() as connection:
        with pytest.raises(VersionError, match="winback has no policy version 3; it has learned none yet"):
            versions.one(connection, "winback", 3)
        versions.insert(connection, new())
        with pytest.raises(VersionError, match=r"no policy version 3; there are: 1 \(candidate\)"):
            versions.move(connection, "winback", 3, "live", now=1)
        with pytest.raises(VersionError, match="needs a share"):
            versions.move(connection, "winback", 1, "ramping", now=1)
        with pytest.raises(VersionError, match="is not in the database: restore it"):
            versions.body(connection, "0" * 64)
        connection.execute(sa.update(policy_files).values(body=b"other"))
        with pytest.raises(VersionError, match="is damaged in the database: restore it"):
            versions.body(connection, versions.one(connection, "winback", 1).sha256)
