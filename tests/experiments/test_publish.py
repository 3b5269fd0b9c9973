"""Snapshots: what is published, when it takes effect, and what a damaged file does."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from allocation import Decision, MemberState, SnapshotError, decide
from allocation.plan import ExperimentPlan, ProjectPlan
from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.log.rows import DecisionRow
from experiments.log.spool import Spool
from experiments.publishing import snapshot_file
from experiments.publishing.members import MANIFEST, MemberStates
from experiments.publishing.plans import plan_of
from experiments.publishing.publish import AHEAD_US, SnapshotFile, SnapshotMissingError, build_snapshot, move, publish
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.small_shop import NOW, SECOND, changed, definitions, launched, split, walk

DORMANT = MemberState(attributes={"stage": "dormant"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({}, data=str(tmp_path / "data"))


def ask(snapshots: SnapshotFile, unit: str, state: MemberState = DORMANT, now: int = NOW) -> Decision:
    assert snapshots.current is not None
    return decide(snapshots.current, "winback", unit, now=now, state=state)


def test_the_first_snapshot_takes_effect_at_once_and_later_ones_two_seconds_ahead(
    store: Store, settings: Settings
) -> None:
    definitions(store)
    first = publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    assert snapshots.load(NOW).version == first
    walk(store, "winback", "review", "testing")
    second = publish(store, settings, NOW + SECOND)
    assert second > first
    assert snapshots.poll(NOW + SECOND) is None
    assert snapshots.poll(NOW + SECOND + AHEAD_US - 1) is None
    taken = snapshots.poll(NOW + SECOND + AHEAD_US)
    assert taken is not None
    assert taken.version == second
    assert snapshots.poll(NOW + 9 * SECOND) is None
    assert SnapshotFile(settings.snapshot_dir).load(NOW + SECOND).version == first, "a restart does not swap early"


def test_a_clock_that_is_wrong_on_one_host_holds_back_no_change(store: Store, settings: Settings) -> None:
    definitions(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    walk(store, "winback", "review", "testing")
    second = publish(store, settings, NOW + 3600 * SECOND)  # by a host whose clock is an hour ahead
    taken = snapshots.poll(NOW + SECOND)
    assert taken is not None
    assert taken.version == second
    assert SnapshotFile(settings.snapshot_dir).load(NOW + SECOND).version == second


def test_the_first_snapshot_comes_with_member_states(store: Store, settings: Settings) -> None:
    definitions(store)
    states = MemberStates(settings.snapshot_dir)
    assert not states.get("member", "m-1").state_known
    version = publish(store, settings, NOW)
    assert states.get("member", "m-1").state_known
    (settings.snapshot_dir / MANIFEST).unlink()
    assert publish(store, settings, NOW + SECOND) == version, "nothing that decides has changed"
    assert MemberStates(settings.snapshot_dir).get("member", "m-1").state_known, "what is missing is made good"


def test_publishing_again_without_a_change_publishes_nothing(store: Store, settings: Settings) -> None:
    repository = definitions(store)
    version = publish(store, settings, NOW)
    repository.apply([repository.metric("visits").model_copy(update={"name": {"en": "V"}})], "ann")
    assert publish(store, settings, NOW + SECOND) == version
    assert len(snapshot_file.versions(settings.snapshot_dir)) == 1


def test_the_last_three_are_kept_and_versions_grow_when_the_clock_is_set_back(store: Store, settings: Settings) -> None:
    repository = launched(store)
    versions = []
    for number in range(6):
        if number:
            repository.apply([changed(repository, overrides={f"t{number}": "a"}, traffic="0.5")], "ann")
        versions.append(publish(store, settings, NOW - number * SECOND))
    assert versions == sorted(versions)
    assert snapshot_file.versions(settings.snapshot_dir) == versions[-3:]
    assert not list(settings.snapshot_dir.glob(".*tmp"))


def test_the_project_travels_with_the_snapshot(store: Store, settings: Settings) -> None:
    assert build_snapshot(store, NOW).project is None
    repository = definitions(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    assert snapshots.load(NOW).source.project == ProjectPlan(
        "CNY", 2, allow_personal_ids=False, stored={"stage": "string", "tier": "string"}
    )
    repository.apply([repository.project().model_copy(update={"allow_personal_ids": True})], "ann")
    publish(store, settings, NOW + SECOND)
    assert snapshots.poll(NOW + SECOND) is None
    assert snapshots.newest is not None
    assert snapshots.newest.source.project is not None
    assert snapshots.newest.source.project.allow_personal_ids is True


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_file_is_refused_and_the_one_before_goes_on(store: Store, settings: Settings, damage: str) -> None:
    repository = launched(store)
    first = publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    repository.apply([changed(repository, overrides={"t": "a"})], "ann")
    second = publish(store, settings, NOW + SECOND)
    path = snapshot_file.path_of(settings.snapshot_dir, second)
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncated": data[: len(data) // 2],
            "flipped": data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
            "empty": b"",
            "other": b"{}",
        }[damage]
    )
    assert snapshots.poll(NOW + 9 * SECOND) is None
    assert snapshots.current is not None
    assert snapshots.current.version == first
    assert snapshots.problem is not None
    assert path.name in snapshots.problem
    restarted = SnapshotFile(settings.snapshot_dir)
    assert restarted.load(NOW + 9 * SECOND).version == first
    assert restarted.problem is not None
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    mended = snapshots.poll(NOW + 9 * SECOND)
    assert mended is not None
    assert mended.version == second
    assert snapshots.problem is None


def test_no_flipped_bit_gets_through(store: Store, settings: Settings) -> None:
    definitions(store)
    path = snapshot_file.path_of(settings.snapshot_dir, publish(store, settings, NOW))
    data = path.read_bytes()
    for place in range(0, len(data), 41):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        with pytest.raises(SnapshotError):
            snapshot_file.read(path)


def test_without_any_snapshot_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SnapshotMissingError, match=r"no snapshot in .*; start the service or run equipoise transition"):
        SnapshotFile(tmp_path / "absent").load(NOW)
    assert SnapshotFile(tmp_path / "absent").poll(NOW) is None


def test_each_state_decides_as_its_name_says(store: Store, settings: Settings) -> None:
    definitions(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    enrolled = None
    now = NOW
    for state, reason in [
        ("draft", "not_running"),
        ("review", "not_running"),
        ("testing", "testing"),
        ("running", "assigned"),
        ("ended", "ended"),
        ("decided", "ended"),
    ]:
        now += 10 * SECOND
        if state != "draft":
            move(store, settings, "winback", state, "ann", "why", now)
        snapshots.poll(now + AHEAD_US)
        if state in {"draft", "review"}:
            assert ask(snapshots, "m-1").reason == reason
            continue
        if state == "running":
            enrolled = next(u for u in (f"m-{i}" for i in range(200)) if ask(snapshots, u).kind == "enrolled")
        assert ask(snapshots, enrolled or "m-1").reason == reason
        if state in {"testing", "running"}:
            assert ask(snapshots, "tester").reason == "override"
        if state == "running":
            assert ask(snapshots, "staff").reason == ask(snapshots, "robot").reason == "excluded"


def test_the_caller_gets_the_offer_and_never_its_cost(store: Store, settings: Settings) -> None:
    launched(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    offer = ask(snapshots, "tester").offer
    assert offer is not None
    assert dict(offer) == {
        "key": "save-20",
        "name": {"en": "¥20 off ¥100", "zh-CN": "满100减20"},
        "type": "spend_x_save_y",
        "face_value": "20",
        "minimum_spend": "100",
        "revision": 1,
        "currency": "CNY",
        "channel": "sms",
    }


def test_pausing_drains_the_spool_seals_the_enrolled_and_then_publishes(store: Store, settings: Settings) -> None:
    launched(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    units = [f"m-{number}" for number in range(200)]
    before = {unit: ask(snapshots, unit) for unit in units}
    spool = Spool(settings.spool_dir)
    spool.append([DecisionRow.from_decision(d) for d in before.values() if d.logged]).result(10)
    move(store, settings, "winback", "paused", "ann", now=NOW + SECOND)
    spool.close()
    assert snapshots.poll(NOW + 5 * SECOND) is not None
    states = MemberStates(settings.snapshot_dir)
    for unit in units:
        after = ask(snapshots, unit, states.get("member", unit), NOW + 5 * SECOND)
        if before[unit].kind == "enrolled":
            assert (after.variant, after.reason) == (before[unit].variant, "kept")
        else:
            assert (after.variant, after.reason) == (None, "paused")
    assert sum(decision.kind == "enrolled" for decision in before.values()) > 20


def test_members_of_an_earlier_phase_keep_their_variant(store: Store, settings: Settings) -> None:
    repository = launched(store)
    publish(store, settings, NOW)
    snapshots = SnapshotFile(settings.snapshot_dir)
    snapshots.load(NOW)
    units = [f"m-{number}" for number in range(400)]
    before = {unit: ask(snapshots, unit) for unit in units}
    with Spool(settings.spool_dir) as spool:
        spool.append([DecisionRow.from_decision(d) for d in before.values() if d.kind == "enrolled"]).result(10)
    repository.apply([changed(repository, variants=split(1, 9))], "ann", now=NOW + SECOND)
    publish(store, settings, NOW + SECOND)
    snapshots.poll(NOW + 5 * SECOND)
    states = MemberStates(settings.snapshot_dir)
    for unit, decision in before.items():
        if decision.kind == "enrolled":
            known = states.get("member", unit)
            assert ask(snapshots, unit, known, NOW + 5 * SECOND).variant == decision.variant
    moved = sum(ask(snapshots, u).variant != d.variant for u, d in before.items() if d.kind == "enrolled")
    assert moved > 10, "without their enrolment some would have got another variant"


def test_another_environment_assigns_alike(store: Store, settings: Settings, tmp_path: Path) -> None:
    repository = launched(store)
    repository.apply([changed(repository, variants=split(1, 3), on_split_change="reassign")], "ann")
    other = open_store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(other)
    Repository(other).apply(load_text(repository.export()), "bob")
    walk(other, "winback", "review", "running")
    here, there = (build_snapshot(each, NOW) for each in (store, other))
    plans = [msgspec.structs.replace(each.experiments["winback"], revision=1) for each in (here, there)]
    assert plans[0] == plans[1]
    assert here.excluded == there.excluded == {"member": ("robot",)}


def test_two_publishers_at_once_leave_one_snapshot(store: Store, settings: Settings) -> None:
    launched(store)
    with ThreadPoolExecutor(4) as pool:
        versions = set(pool.map(lambda _: publish(store, settings, NOW), range(8)))
    assert len(versions) == 1
    assert snapshot_file.versions(settings.snapshot_dir) == list(versions)


def test_how_an_experiment_is_judged_does_not_reach_who_decides(store: Store) -> None:
    """But for attributes that a decision has to keep."""
    repository = definitions(store)

    def plan(**fields: object) -> ExperimentPlan:
        if fields:
            repository.apply([changed(repository, **fields)], "ann")
        found = plan_of(repository, repository.experiment("winback"))
        return msgspec.structs.replace(found, revision=0)

    before = plan()
    analysis = {"inference": "bayesian", "prior": {"relative_sd": 0.1}, "reached": "Delivered", "pool_occasions": True}
    assert plan(analysis=analysis) == before
    kept = plan(analysis=analysis | {"strata": ["tier"]}, breakdowns=["stage"])
    assert sorted(kept.frozen) == sorted(before.frozen) == ["stage", "tier"]
    assert plan(breakdowns=["stage"], analysis={}).frozen == ("stage",)


def test_a_draft_can_be_planned_before_launch(store: Store) -> None:
    repository = definitions(store)
    record = repository.experiment("winback")
    plan = plan_of(repository, record)
    assert plan.phase.salt == record.salt
    assert (plan.sticky, [h.key for h in plan.holdouts], plan.layer and plan.layer.slots) == (
        True,
        ["everyone"],
        (("0", "0.5"),),
    )
