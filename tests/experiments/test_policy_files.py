"""Policies beside the snapshot: copied first, checked, healed, forgotten; and lists decided by them."""

from __future__ import annotations

import csv
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from allocation import MemberState, decide
from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy, sha256_of, to_bytes
from experiments.assignments.assign import assign_file
from experiments.assignments.carry_out import carry_out
from experiments.assignments.request import LIST, RESULT, ListRequest
from experiments.errors import InputError
from experiments.jobs import files
from experiments.learning import versions
from experiments.learning.versions import NewVersion, VersionError
from experiments.publishing import policy_files
from experiments.publishing.publish import SnapshotFile, publish
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.log_tables import decisions
from experiments.store.policy_tables import policy_files as table
from tests.experiments.learning_shop import KEY, VARIANTS, bandit, shop
from tests.experiments.measuring import START_US as NOW
from tests.experiments.small_shop import SECOND

ENCODER = Encoder((FeatureCode("stage", "categorical", levels=("new", "loyal")), FeatureCode("orders", "numeric")))
DUE = NOW + 10**13


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({}, data=str(tmp_path / "data"))


@pytest.fixture
def learning(store: Store, settings: Settings) -> Store:
    """A shop whose experiment draws evenly still."""
    shop(store, bandit(primary="buys"))
    publish(store, settings, NOW)
    return store


def prefers(place: int) -> bytes:
    """Return the file of a policy that nearly always draws one of the variants."""
    coef = np.zeros((3, len(ENCODER.columns)))
    coef[place, 0] = 1.0
    return to_bytes(
        Policy(variants=VARIANTS, kind="contextual", rule="igw", encoder=ENCODER, coef=coef, effective_rows=1e6)
    )


def goes_live(store: Store, settings: Settings, place: int, at: int) -> str:
    """Publish a new live version and return the SHA-256 of its policy."""
    body = prefers(place)
    with store.begin() as connection:
        known = {"rows_by_variant": dict.fromkeys(VARIANTS, 500)}  # so that none is forced
        number = versions.insert(connection, NewVersion(KEY, body, "igw", at, at, 1500, about=known))
        versions.move(connection, KEY, number, "live", now=at)
    publish(store, settings, at)
    return sha256_of(body)


def drawn(snapshots: SnapshotFile, unit: str, occasion: str = "") -> Any:
    assert snapshots.current is not None
    return decide(snapshots.current, KEY, unit, now=DUE, state=MemberState({"stage": "new"}), occasion=occasion)


def version_of(snapshots: SnapshotFile) -> int:
    """Return the version that draws, asked of somebody who is not in the control group."""
    found = {json.loads(drawn(snapshots, f"m-{index}").policy)["version"] for index in range(60)}
    return max(found)


def test_a_policy_is_there_before_the_snapshot_that_names_it(learning: Store, settings: Settings) -> None:
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load()
    assert version_of(snapshots) == 0
    digest = goes_live(learning, settings, 1, NOW + SECOND)
    assert policy_files.path_of(settings.snapshot_dir, digest).read_bytes() == prefers(1)
    assert snapshots.poll() is not None
    assert version_of(snapshots) == 1
    given = [drawn(snapshots, f"m-{index}").variant for index in range(300)]
    assert given.count("save") > 250


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_policy_leaves_the_snapshot_before_in_use(learning: Store, settings: Settings, damage: str) -> None:
    snapshots = SnapshotFile(settings.snapshot_dir)
    goes_live(learning, settings, 1, NOW + SECOND)
    snapshots.load()
    digest = goes_live(learning, settings, 2, NOW + 2 * SECOND)
    path = policy_files.path_of(settings.snapshot_dir, digest)
    body = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(body[:-10] if damage == "cut" else body[:100] + bytes([body[100] ^ 1]) + body[101:])
    assert snapshots.poll() is None
    assert snapshots.problem is not None
    assert path.name in snapshots.problem
    assert version_of(snapshots) == 1
    restarted = SnapshotFile(settings.snapshot_dir)
    restarted.load()
    assert version_of(restarted) == 1, "also after a restart"
    publish(learning, settings, NOW + 3 * SECOND)
    assert path.read_bytes() == body, "publishing again puts it right"
    assert snapshots.poll() is not None
    assert (version_of(snapshots), snapshots.problem) == (2, None)


def test_policies_that_no_kept_snapshot_names_are_deleted(learning: Store, settings: Settings) -> None:
    digests = [goes_live(learning, settings, place % 3, NOW + (place + 1) * SECOND) for place in range(3)]
    folder = settings.snapshot_dir
    assert all(policy_files.path_of(folder, digest).exists() for digest in digests)
    for round_ in range(3):
        with learning.begin() as connection:
            number = versions.insert(connection, NewVersion(KEY, to_bytes(Policy(variants=VARIANTS)), "x", NOW, NOW, 1))
            versions.move(connection, KEY, number, "live", now=NOW)
        publish(learning, settings, NOW + (10 + round_) * SECOND)
    assert [path.name for path in folder.glob("policy-*.npz")] == [
        policy_files.path_of(folder, sha256_of(to_bytes(Policy(variants=VARIANTS)))).name
    ]


def test_a_policy_that_the_store_has_lost_is_not_published(learning: Store, settings: Settings) -> None:
    with learning.begin() as connection:
        number = versions.insert(connection, NewVersion(KEY, prefers(1), "igw", NOW, NOW, 1))
        versions.move(connection, KEY, number, "live", now=NOW)
        connection.execute(sa.delete(table))
    with pytest.raises(VersionError, match="restore it from a backup"):
        publish(learning, settings, NOW + SECOND)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load()
    assert version_of(snapshots) == 0


def test_nobody_waits_while_versions_are_swapped(learning: Store, settings: Settings) -> None:
    """One thread decides while another takes over five versions; each answer is wholly of one of them."""
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load()
    answers: list[Any] = []
    done = threading.Event()

    def decides() -> None:
        count = 0
        while not done.is_set():
            answers.append(drawn(snapshots, f"m-{count}"))
            count += 1

    thread = threading.Thread(target=decides)
    thread.start()
    try:
        for place in range(5):
            goes_live(learning, settings, place % 3, NOW + (place + 1) * SECOND)
            assert snapshots.poll() is not None
            before = len(answers)
            while len(answers) < before + 50 and thread.is_alive():
                done.wait(0.001)
    finally:
        done.set()
        thread.join()
    assert {json.loads(answer.policy)["version"] for answer in answers} == {0, 1, 2, 3, 4, 5}
    for answer in answers:
        how = json.loads(answer.policy)
        assert answer.propensity == how["p"][how["eligible"].index(answer.variant)]


def listed(store: Store, settings: Settings, content: bytes, **fields: Any) -> list[dict[str, str]]:
    request = ListRequest(KEY, sha256_of(content), **fields)
    if files.find(store, request.job_id, LIST) is None:
        files.save(store, request.job_id, LIST, [content], name="list.csv")
    carry_out(store, settings, request, lambda _done, _total: None)
    kept = files.find(store, request.job_id, RESULT)
    assert kept is not None
    return list(csv.DictReader(io.StringIO(b"".join(files.read(store, kept)).decode())))


def test_a_list_is_drawn_by_the_policy_and_logged_with_how(learning: Store, settings: Settings) -> None:
    goes_live(learning, settings, 1, NOW + SECOND)
    content = b"unit,stage,orders\n" + b"".join(b"m-%d,new,%d\n" % (index, index % 7) for index in range(400))
    told = listed(learning, settings, content, occasion="june")
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load()
    with learning.read() as connection:
        rows = {row.unit: row for row in connection.execute(sa.select(decisions))}
    assert len(rows) == 400
    for answer in told:
        row = rows[answer["unit"]]
        how = json.loads(row.policy)
        assert answer["variant"] == row.variant
        assert row.propensity == how["p"][how["eligible"].index(row.variant)]
        assert how["version"] == (1 if how["group"] == "policy" else 0)
        expected = decide(
            snapshots.current,  # type: ignore[arg-type]
            KEY, row.unit, now=row.at, state=MemberState(json.loads(row.frozen)), occasion="june",
        )  # fmt: skip
        assert (expected.variant, expected.policy) == (row.variant, row.policy)
    goes_live(learning, settings, 2, NOW + 2 * SECOND)
    assert listed(learning, settings, content, occasion="june") == told, "another version, the same answers"


def test_a_list_that_is_not_logged_is_refused(learning: Store, settings: Settings, tmp_path: Path) -> None:
    snapshot = SnapshotFile(settings.snapshot_dir).load()
    (tmp_path / "list.csv").write_text("unit,stage,orders\nm-1,new,1\n")
    with pytest.raises(InputError, match="must be logged; use equipoise assign --log"):
        assign_file(tmp_path / "list.csv", tmp_path / "out.csv", snapshot.experiments[KEY], now=NOW)
