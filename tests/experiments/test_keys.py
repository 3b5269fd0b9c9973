"""API keys in the store: made, rotated, revoked, audited, published; on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from allocation.plan import SecurityPlan
from experiments.keeping import audit
from experiments.publishing.publish import build_snapshot, publish
from experiments.publishing.snapshot_file import SnapshotFile
from experiments.security import key_text, keys
from experiments.security.keys import ApiKeyError, UnknownApiKeyError
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.security_tables import api_keys

NOW = 1_772_500_000_000_000
DAY = 24 * keys.HOUR_US


def make(store: Store, name: str = "shop", *scopes: str, now: int = NOW, **more: object) -> keys.NewKey:
    return keys.create(store, name, scopes or ("decide",), actor="ann", now=now, **more)  # type: ignore[arg-type]


def security(store: Store, now: int = NOW) -> SecurityPlan:
    with store.read() as connection:
        return keys.security_plan(connection, now)


def test_a_key_is_made_once_and_only_its_fingerprint_is_kept(store: Store) -> None:
    made = make(store, "shop", "ingest", "decide", ack="store", source="rudder", environment="test")
    parts = key_text.read(made.text)
    assert parts is not None
    assert (parts.environment, parts.selector) == ("test", made.key.selector)
    assert parts.secret not in repr(made)
    with store.read() as connection:
        stored = connection.execute(sa.select(api_keys)).one()
        everything = str([connection.execute(sa.select(table)).all() for table in (api_keys, audit.audit_log)])
    assert parts.secret not in everything
    assert stored.verifier == key_text.verifier(parts.secret)
    (key,) = keys.all_keys(store)
    assert (key.scopes, key.ack, key.source, key.state(NOW)) == (("decide", "ingest"), "store", "rudder", "live")


def test_keys_differ(store: Store) -> None:
    texts = {make(store, f"k{number}").text for number in range(50)}
    assert len({key_text.read(text).secret for text in texts}) == 50  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": "Shop"}, "name", "a-z"),
        ({"name": ""}, "name", "a-z"),
        ({"name": "a" * 65}, "name", "64"),
        ({"name": "shop\n"}, "name", "a-z"),
        ({"name": "店"}, "name", "a-z"),
        ({"scopes": ()}, "scopes", "at least one"),
        ({"scopes": ("decde",)}, "scopes", "did you mean 'decide'"),
        ({"ack": "disk"}, "ack", "spool, store, none"),
        ({"source": "a b"}, "source", "64"),
        ({"environment": "Live"}, "environment", "a-z"),
        ({"expires_at": NOW}, "expires_at", "future"),
        ({"expires_at": 2**60}, "expires_at", "far"),
    ],
)
def test_what_cannot_be_made_says_why(store: Store, change: dict[str, object], field: str, words: str) -> None:
    asked = {"name": "shop", "scopes": ("decide",), **change}
    with pytest.raises(ApiKeyError, match=words) as caught:
        keys.create(store, asked.pop("name"), asked.pop("scopes"), actor="ann", now=NOW, **asked)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert keys.all_keys(store) == []
    assert audit.rows(store) == []


def test_a_name_is_unique_among_the_keys_that_work(store: Store) -> None:
    make(store, expires_at=NOW + DAY)
    with pytest.raises(ApiKeyError, match="in use"):
        make(store)
    again = make(store, now=NOW + DAY)  # the first has ended
    keys.revoke(store, "shop", actor="ann", now=NOW + DAY + 1)
    make(store, now=NOW + DAY + 2)
    states = [key.state(NOW + DAY + 3) for key in keys.all_keys(store)]
    assert sorted(states) == ["expired", "live", "revoked"]
    assert again.key.selector not in {key.selector for key in security(store, NOW + DAY + 3).keys}


def test_rotation_puts_a_new_key_beside_the_old_which_ends(store: Store) -> None:
    old = make(store, "shop", "ingest", ack="none", source="s", expires_at=NOW + 90 * DAY)
    new = keys.rotate(store, "shop", actor="bob", now=NOW + DAY)
    assert new.key.replaces == old.key.selector
    assert (new.key.scopes, new.key.ack, new.key.source) == (("ingest",), "none", "s")
    assert new.key.expires_at == NOW + 91 * DAY  # as long a life as the old one was given
    states = {key.selector: key.state(NOW + DAY) for key in keys.all_keys(store)}
    assert states == {old.key.selector: "ending", new.key.selector: "live"}
    with pytest.raises(ApiKeyError, match="two keys named shop work already"):
        keys.rotate(store, "shop", actor="bob", now=NOW + DAY)
    with pytest.raises(ApiKeyError, match="in use"):
        make(store, now=NOW + DAY)
    assert {key.selector for key in security(store, NOW + 2 * DAY - 1).keys} == {old.key.selector, new.key.selector}
    assert {key.selector for key in security(store, NOW + 2 * DAY).keys} == {new.key.selector}
    keys.rotate(store, new.key.selector, actor="bob", now=NOW + 2 * DAY, grace_us=0)
    assert len(security(store, NOW + 2 * DAY).keys) == 1


def test_a_rotation_never_lengthens_the_old_life(store: Store) -> None:
    old = make(store, expires_at=NOW + keys.HOUR_US)
    keys.rotate(store, "shop", actor="bob", now=NOW, grace_us=90 * DAY)
    assert next(k for k in keys.all_keys(store) if k.selector == old.key.selector).expires_at == NOW + keys.HOUR_US


def test_revoking_by_name_ends_both_and_by_selector_one(store: Store) -> None:
    old = make(store)
    new = keys.rotate(store, "shop", actor="bob", now=NOW)
    assert [key.selector for key in keys.revoke(store, old.key.selector, actor="bob", now=NOW)] == [old.key.selector]
    assert [key.selector for key in security(store).keys] == [new.key.selector]
    keys.rotate(store, "shop", actor="bob", now=NOW)
    assert len(keys.revoke(store, "shop", actor="bob", now=NOW)) == 2
    assert security(store) == SecurityPlan(required=True)
    for change in (keys.revoke, keys.rotate):
        with pytest.raises(UnknownApiKeyError, match=r"no key .shop. that works; there is none at all"):
            change(store, "shop", actor="bob", now=NOW)


def test_a_whole_key_given_for_its_name_is_not_repeated(store: Store) -> None:
    made = make(store)
    with pytest.raises(UnknownApiKeyError) as caught:
        keys.revoke(store, made.text, actor="bob", now=NOW)
    assert key_text.read(made.text).secret not in str(caught.value)  # type: ignore[union-attr]


def test_the_first_key_from_outside_must_manage(store: Store) -> None:
    with pytest.raises(ApiKeyError, match="manage"):
        make(store, "shop", "decide", first_manages=True)
    make(store, "admin", "manage", first_manages=True)
    make(store, "shop", "decide", first_manages=True)


def test_every_change_is_audited_without_a_secret(store: Store) -> None:
    first = make(store)
    keys.rotate(store, "shop", actor="bob", now=NOW + 1)
    keys.revoke(store, first.key.selector, actor="eve", now=NOW + 2)
    rows = audit.rows(store, "api_key", "shop")
    assert [(row.action, row.actor) for row in rows] == [("created", "ann"), ("rotated", "bob"), ("revoked", "eve")]
    assert json.loads(rows[1].detail)["replaces"] == first.key.selector
    assert audit.broken_at(store) is None


def test_uses_are_noted_and_never_go_back(store: Store) -> None:
    made = make(store)
    keys.note_use(store, [(made.key.selector, NOW + 5), ("unknown00000", NOW)])
    keys.note_use(store, [(made.key.selector, NOW + 3)])
    assert keys.all_keys(store)[0].last_used_at == NOW + 5


def test_what_is_published_of_keys(store: Store, tmp_path: Path) -> None:
    assert build_snapshot(store, NOW).security == SecurityPlan()
    settings = Settings(tmp_path / "data", store.url)
    made = make(store, "shop", "decide", expires_at=NOW + DAY)
    version = publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    loaded = snapshots.load(NOW).source.security
    assert loaded.required
    assert [key.selector for key in loaded.keys] == [made.key.selector]
    assert loaded.keys[0].expires_at == NOW + DAY
    secret = key_text.read(made.text).secret  # type: ignore[union-attr]
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    keys.revoke(store, "shop", actor="ann", now=NOW + 1)
    assert publish(store, settings, NOW + 2) != version
    assert snapshots.poll(NOW + DAY) is not None
    assert snapshots.newest is not None
    assert snapshots.newest.source.security == SecurityPlan(required=True)


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    results: list[object] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except ApiKeyError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_at_once_one_wins(store: Store) -> None:
    made = at_once(8, lambda _: make(store))
    assert sum(isinstance(result, keys.NewKey) for result in made) == 1
    rotated = at_once(8, lambda _: keys.rotate(store, "shop", actor="bob", now=NOW + 1))
    assert sum(isinstance(result, keys.NewKey) for result in rotated) == 1
    assert len(security(store, NOW + 1).keys) == 2
