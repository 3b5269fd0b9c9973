"""The member-state file: what it holds, what a missing, damaged or old one means, and what a lookup costs."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from pathlib import Path

import msgspec
import sqlalchemy as sa

from experiments.publishing import members
from experiments.publishing.members import MAX_AGE_US, MemberStates
from experiments.publishing.publish import publish_members
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.log_tables import decisions, identities
from experiments.store.log_tables import members as members_table
from tests.experiments.small_shop import NOW, changed, launched, walk


def decision(unit: str, at: int, variant: str | None = "a", phase: int = 1, **fields: object) -> dict[str, object]:
    return {
        "decision_id": f"{unit}-{phase}-{at}",
        "experiment": "winback",
        "revision": 1,
        "phase": phase,
        "unit_type": "member",
        "unit": unit,
        "occasion": str(at),
        "kind": "enrolled",
        "variant": variant,
        "reason": "assigned",
        "propensity": 0.5,
        "at": at,
        "frozen": "{}",
        "holdout": None,
        "snapshot": "v",
        "source": "decide",
        **fields,
    }


def fill(store: Store, people: list[dict[str, object]], rows: list[dict[str, object]]) -> None:
    with store.begin() as connection:
        if people:
            connection.execute(sa.insert(members_table), people)
        if rows:
            connection.execute(sa.insert(decisions), rows)


def person(unit: str, attributes: str = '{"stage":"dormant"}', opted_out: bool = False) -> dict[str, object]:
    return {
        "unit_type": "member",
        "unit": unit,
        "attributes": attributes,
        "opted_out": opted_out,
        "updated_at": NOW,
        "stated_at": "{}",
    }


def test_it_holds_attributes_opt_outs_and_the_first_enrolment(store: Store, tmp_path: Path) -> None:
    launched(store)
    settings = Settings.from_env({}, data=str(tmp_path / "data"))
    fill(
        store,
        [person("m-1"), person("小明", '{"tier":"金"}', opted_out=True)],
        [
            decision("m-1", NOW + 5, "control"),
            decision("m-1", NOW + 2, "a"),
            decision("m-2", NOW, "a"),
            decision("held", NOW, None, kind="holdout"),
            decision("tester", NOW, "a", kind="override"),
            decision("m-3", NOW, "a", experiment="another"),
        ],
    )
    manifest = publish_members(store, settings, NOW)
    assert (manifest.members, manifest.enrolments) == (2, 2)
    states = MemberStates(settings.snapshot_dir)
    assert states.refresh(NOW)
    first = states.get("member", "m-1")
    assert first.attributes == {"stage": "dormant"}
    assert (first.enrolments["winback"].variant, first.enrolments["winback"].since) == ("a", NOW + 2)
    second = states.get("member", "小明")
    assert (second.attributes, second.opted_out, second.state_known) == ({"tier": "金"}, True, True)
    assert states.get("member", "m-2").enrolments["winback"].variant == "a"
    for unit in ("held", "tester", "m-3", "nobody"):
        assert states.get("member", unit).enrolments == {}
    assert states.get("store", "m-1").attributes == {}


def test_after_a_reassignment_earlier_enrolments_no_longer_count(store: Store, tmp_path: Path) -> None:
    repository = launched(store)
    settings = Settings.from_env({}, data=str(tmp_path / "data"))
    variants = [{"key": "control", "weight": 1}, {"key": "a", "weight": 3, "offer": "save-20", "channel": "sms"}]
    repository.apply([changed(repository, variants=variants, on_split_change="reassign")], "ann")
    fill(store, [], [decision("old", NOW), decision("both", NOW), decision("both", NOW + 9, "control", phase=2)])
    publish_members(store, settings, NOW)
    states = MemberStates(settings.snapshot_dir)
    assert states.get("member", "old").enrolments == {}
    assert states.get("member", "both").enrolments["winback"].variant == "control"


def test_of_linked_units_it_holds_every_enrolment_and_the_earliest_counts_for_all(store: Store, tmp_path: Path) -> None:
    repository = launched(store)
    plain: dict[str, object] = {"audience": None, "breakdowns": [], "layer": None, "metrics": {"primary": ["visits"]}}
    repository.apply([changed(repository, key="plain", **plain)], "ann")
    walk(store, "plain", "review", "testing", "running")
    settings = Settings.from_env({}, data=str(tmp_path / "data"))
    rows = [
        decision("m-1", NOW + 5, "control", experiment="plain"),
        decision("m-2", NOW + 2, "a", experiment="plain"),
        decision("alone", NOW + 2, "a", experiment="plain"),
        decision("crowd-1", NOW + 2, "a", experiment="plain"),
        decision("m-2", NOW + 3, "a"),
    ]
    fill(store, [person("m-1"), person("m-3", '{"tier":"gold"}', opted_out=True)], rows)
    manifest = publish_members(store, settings, NOW)
    states = MemberStates(settings.snapshot_dir)
    states.refresh(NOW)
    nobody = states.nobody_linked
    assert nobody
    assert (manifest.format, manifest.linked, manifest.enrolments) == (1, 0, 1), "the version before reads it"
    groups = {"m-1": "m-1", "m-2": "m-1", "m-3": "m-1", "crowd-1": "crowd-1"}
    with store.begin() as connection:
        connection.execute(
            sa.insert(identities), [{"unit_type": "member", "unit": u, "root": r} for u, r in groups.items()]
        )
    manifest = publish_members(store, settings, NOW + 1)
    assert (manifest.format, manifest.linked, manifest.enrolments) == (members.FORMAT, 3, 3)
    states.refresh(NOW)
    assert not states.nobody_linked
    for unit in ("m-1", "m-2", "m-3"):
        for state in (states.get("member", unit), states.get("member", unit, enrolments=False)):
            assert set(state.linked) == {"m-1", "m-2", "m-3"} - {unit}
            assert {key: found.variant for key, found in state.enrolments.items()} == {"plain": "a", "winback": "a"}
            assert state.opted_out, "an opt-out under one of them is the person's"
    assert states.get("member", "m-1").attributes == {"stage": "dormant"}
    for unit in ("alone", "crowd-1", "nobody"):
        state = states.get("member", unit)
        assert (state.linked, state.enrolments, state.opted_out) == ((), {}, False)
    assert states.get("store", "m-1").linked == ()


def test_a_file_of_the_format_before_is_read(tmp_path: Path) -> None:
    manifest = write(tmp_path, NOW)
    old = tmp_path / manifest.file
    with sqlite3.connect(old) as connection:
        connection.execute("DROP TABLE identities")
    connection.close()
    data = msgspec.json.encode(
        {"file": old.name, "sha256": hashlib.sha256(old.read_bytes()).hexdigest(), "at": NOW, "members": 1,
         "enrolments": 0, "format": 1}
    )  # fmt: skip
    (tmp_path / members.MANIFEST).write_bytes(data)
    states = MemberStates(tmp_path)
    assert states.refresh(NOW)
    assert states.nobody_linked
    assert states.get("member", "m-1").attributes == {"stage": "dormant"}


def write(folder: Path, at: int, stage: str = "dormant") -> members.Manifest:
    return members.write(folder, at, [("member", "m-1", f'{{"stage":"{stage}"}}', 1)], [])


def test_without_a_file_the_state_is_unknown(tmp_path: Path) -> None:
    state = MemberStates(tmp_path / "absent").get("member", "m-1")
    assert (state.state_known, state.attributes, state.opted_out) == (False, {}, False)


def test_of_an_old_file_only_what_happened_counts(tmp_path: Path) -> None:
    people, enrolments = [("member", "m-1", '{"stage":"dormant"}', 1)], [("member", "m-1", "winback", 1, "a", NOW - 5)]
    members.write(tmp_path, NOW, people, enrolments)
    states = MemberStates(tmp_path)
    states.refresh(NOW + MAX_AGE_US)
    assert states.get("member", "m-1").state_known
    states.refresh(NOW + MAX_AGE_US + 1)
    state = states.get("member", "m-1")
    assert (state.state_known, state.attributes, state.opted_out) == (False, {}, True)
    assert state.enrolments["winback"].variant == "a"


def test_a_damaged_file_is_refused_and_the_one_before_stays(tmp_path: Path) -> None:
    write(tmp_path, NOW, "dormant")
    states = MemberStates(tmp_path)
    assert states.refresh()
    manifest = write(tmp_path, NOW + 1, "active")
    damaged = tmp_path / manifest.file
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 4
    damaged.write_bytes(data)
    assert not states.refresh()
    assert states.problem is not None
    assert "is damaged: its checksum does not match" in states.problem
    assert states.get("member", "m-1").attributes == {"stage": "dormant"}
    write(tmp_path, NOW + 2, "active")
    assert states.refresh()
    assert states.problem is None
    assert states.get("member", "m-1").attributes == {"stage": "active"}


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path, NOW)
    for text in (b"", b"{}", b'{"file":"../../etc/passwd","sha256":"","at":0,"members":0,"enrolments":0}'):
        (tmp_path / members.MANIFEST).write_bytes(text)
        states = MemberStates(tmp_path)
        assert not states.refresh()
        assert states.problem is not None
        assert not states.get("member", "m-1").state_known


def test_newer_files_win_also_when_the_clock_was_set_back(tmp_path: Path) -> None:
    for at in (NOW, NOW - 10, NOW - 20):
        write(tmp_path, at, str(at))
    states = MemberStates(tmp_path)
    assert states.get("member", "m-1").attributes == {"stage": str(NOW - 20)}
    assert len(list(tmp_path.glob("members-*.sqlite"))) == members.KEPT


def test_a_failed_write_leaves_the_published_file_alone(tmp_path: Path) -> None:
    write(tmp_path, NOW)
    twice = [("member", "m-1", "{}", 0)] * 2
    try:
        members.write(tmp_path, NOW + 1, twice, [])
    except sqlite3.IntegrityError:
        pass
    assert MemberStates(tmp_path).get("member", "m-1").attributes == {"stage": "dormant"}
    assert not list(tmp_path.glob(".*"))


def test_many_threads_read_while_files_change(tmp_path: Path) -> None:
    write(tmp_path, NOW, "0")
    states = MemberStates(tmp_path)
    states.refresh()
    wrong: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            state = states.get("member", "m-1")
            if not state.state_known or not state.attributes["stage"].isdigit():
                wrong.append(state)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 15):
        write(tmp_path, NOW + number, str(number))
        states.refresh()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert states.get("member", "m-1").attributes == {"stage": "14"}


def test_a_lookup_costs_the_same_in_a_large_file(tmp_path: Path) -> None:
    rows = (("member", f"m-{number:06d}", '{"stage":"dormant","tier":"gold"}', 0) for number in range(100_000))
    enrolments = (("member", f"m-{number:06d}", "winback", 1, "a", NOW) for number in range(0, 100_000, 2))
    members.write(tmp_path, NOW, rows, enrolments)
    states = MemberStates(tmp_path)
    states.refresh()
    begun = time.process_time()
    for number in range(0, 100_000, 20):
        assert states.get("member", f"m-{number:06d}").state_known
    each_us = (time.process_time() - begun) / 5_000 * 1e6
    assert each_us < 200, "two point lookups; about 15 µs where this was written"
