"""Revisions, states, phases, locking and the audit trail, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from experiments.definitions import DefinitionError
from experiments.definitions.loader import load_text
from experiments.keeping import audit
from experiments.keeping.repository import Repository, StaleVersionError, UnknownKeyError
from experiments.lifecycle.states import MOVES, STATES, opens_phase
from experiments.lifecycle.transition import TransitionError, transition
from experiments.publishing.plans import plan_of
from experiments.store import Store
from experiments.store.definition_tables import audit_log, definition_revisions
from tests.experiments.small_shop import NOW, SHOP, changed, definitions, launched, split, walk


def apply_one(repository: Repository, **fields: object) -> tuple[str, ...]:
    (change,) = repository.apply([changed(repository, **fields)], "ann", now=NOW + 1)
    return change.notes


def refusals(repository: Repository, **fields: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        repository.apply([changed(repository, **fields)], "ann", now=NOW + 1)
    return [str(problem) for problem in caught.value.problems]


def test_applying_a_file_twice_changes_nothing(store: Store) -> None:
    repository = definitions(store)
    before = (repository.heads(), audit.rows(store))
    changes = repository.apply(load_text(SHOP), "bob", now=NOW + 5)
    assert {change.action for change in changes} == {"unchanged"}
    assert (repository.heads(), audit.rows(store)) == before


def test_a_change_makes_a_new_revision_and_keeps_the_old_one(store: Store) -> None:
    repository = definitions(store)
    apply_one(repository, owner="growth")
    record = repository.experiment("winback")
    assert (record.revision, record.definition.owner) == (2, "growth")
    assert repository.revision("experiment", "winback", 1).owner is None  # type: ignore[union-attr]
    assert record.salt == Repository(store).experiment("winback").salt
    assert len(record.salt) == 16


def test_one_wrong_document_changes_nothing(store: Store) -> None:
    repository = Repository(store)
    with pytest.raises(DefinitionError, match='metric "nothing" is not defined'):
        repository.apply(load_text(SHOP.replace("primary: [repurchase]", "primary: [nothing]")), "ann")
    assert repository.heads() == {}
    assert audit.rows(store) == []


def test_a_dry_run_writes_nothing(store: Store) -> None:
    repository = Repository(store)
    changes = repository.apply(load_text(SHOP), "ann", dry_run=True)
    assert {change.action for change in changes} == {"created"}
    assert repository.heads() == {}


def test_only_the_next_states_are_allowed(store: Store) -> None:
    definitions(store)
    walked: list[str] = ["draft"]
    for following in ("review", "testing", "running", "paused", "running", "ended", "decided"):
        allowed = MOVES[walked[-1]]  # type: ignore[index]
        for state in STATES:
            if state not in allowed:
                with pytest.raises(TransitionError, match=f"is {walked[-1]} and cannot move to {state}; "):
                    transition(store, "winback", state, "ann", "why", NOW)
        transition(store, "winback", following, "ann", "why", NOW)
        walked.append(following)
    record = Repository(store).experiment("winback")
    assert (record.started_at, record.ended_at, record.decided_at, record.paused_at) == (NOW, NOW, NOW, None)


@pytest.mark.parametrize(
    ("key", "to", "reason", "message"),
    [
        ("winback", "runing", None, '"runing" is not a state; use one of draft, review'),
        ("winback", "running", None, "experiment winback is draft and cannot move to running; it can move to review"),
        ("winbak", "review", None, 'experiment "winbak" is not defined; did you mean "winback"?'),
    ],
)
def test_a_wrong_move_says_what_is_possible(store: Store, key: str, to: str, reason: str | None, message: str) -> None:
    definitions(store)
    with pytest.raises((TransitionError, UnknownKeyError)) as caught:
        transition(store, key, to, "ann", reason)
    assert str(caught.value).startswith(message)


def test_a_decision_needs_its_reason(store: Store) -> None:
    launched(store)
    walk(store, "winback", "ended")
    with pytest.raises(TransitionError, match="say what was decided and why"):
        transition(store, "winback", "decided", "ann", " ")


def test_launch_opens_phase_one_and_freezes_what_it_names(store: Store) -> None:
    repository = launched(store)
    record = repository.experiment("winback")
    assert record.pinned is not None
    assert (record.pinned.currency, record.pinned.sticky, record.pinned.holdouts) == ("CNY", True, ("everyone",))
    (phase,) = record.phases
    assert (phase.number, phase.salt, phase.carry, dict(phase.weights)) == (
        1,
        record.salt,
        "start",
        {"control": 1, "a": 1},
    )
    dearer = SHOP.split("---")[3].replace('face_value: "20"', 'face_value: "30"')
    repository.apply(load_text(dearer), "ann")
    assert repository.offer("save-20").face_value == "30"
    assert repository.experiment_offers(repository.experiment("winback"))["save-20"].face_value == "20"


def test_raising_traffic_opens_no_phase_and_lowering_it_does(store: Store) -> None:
    repository = launched(store)
    assert apply_one(repository, traffic="0.8") == ("traffic raised from 0.5 to 0.8; nobody moved",)
    (phase,) = repository.experiment("winback").phases
    assert (phase.number, phase.traffic) == (1, "0.8")
    (note,) = apply_one(repository, traffic="0.2")
    assert note.startswith("phase 2 opened: enrolled members keep their variant")
    first, second = repository.experiment("winback").phases
    assert (first.closed_at, second.opened_at, second.salt, second.carry) == (NOW + 1, NOW + 1, first.salt, "keep")


def test_reassigning_draws_everybody_anew_under_a_new_salt(store: Store) -> None:
    repository = launched(store)
    (note,) = apply_one(repository, variants=split(1, 3), on_split_change="reassign")
    assert "may carry over" in note
    first, second = repository.experiment("winback").phases
    assert second.salt != first.salt
    assert second.carry == "reassign"
    assert repository.experiment("winback").kept_since == 2


def test_the_same_split_in_other_parts_is_no_new_phase(store: Store) -> None:
    repository = launched(store)
    assert apply_one(repository, variants=split(5, 5)) == ()
    assert len(repository.experiment("winback").phases) == 1
    assert not opens_phase({"control": 1, "a": 1}, "0.5", changed(repository, variants=split(3, 3)))
    assert opens_phase({"control": 1, "a": 1}, "0.5", changed(repository, variants=split(3, 2)))


def test_a_variant_may_be_added_at_the_end(store: Store) -> None:
    repository = launched(store)
    (note,) = apply_one(repository, variants=split(1, 1, {"key": "b", "weight": 1}))
    assert note.startswith("phase 2 opened")
    assert dict(repository.experiment("winback").phases[1].weights) == {"control": 1, "a": 1, "b": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"audience": {"attribute": "stage", "op": "eq", "value": "new"}},
            "/audience: cannot change, the experiment is",
        ),
        ({"control": "a"}, "/control: cannot change, the experiment is running"),
        ({"layer": None}, "/layer: cannot change, the experiment is running"),
        ({"metrics": {"primary": ["visits"]}}, "/metrics/primary: cannot change after launch"),
        ({"variants": list(reversed(split(1, 1)))}, '/variants/1: variant "control" changed its place'),
        (
            {"variants": [{"key": "control"}, {"key": "b"}], "overrides": {}},
            '/variants: variant "a" cannot be removed while members have it; give it weight 0',
        ),
        ({"variants": [{"key": "control"}, {"key": "a"}]}, "/variants/1/offer: cannot change after launch"),
        ({"schedule": {"start": "2026-03-01T00:00:00Z"}}, "/schedule/start: cannot change while the experiment runs"),
        ({"alpha": 0.1}, "/alpha: cannot change, the experiment is running: the rules of reading were declared"),
        ({"unit_type": "store", "layer": None}, "/unit_type: cannot change"),
    ],
)
def test_the_design_is_frozen_while_it_runs(store: Store, fields: dict[str, object], message: str) -> None:
    repository = launched(store)
    assert any(message in line for line in refusals(repository, **fields))
    assert repository.experiment("winback").revision == 1


def test_words_testers_and_secondary_metrics_may_change_while_it_runs(store: Store) -> None:
    repository = launched(store)
    fields = {
        "name": {"en": "Other"},
        "overrides": {"tester": "control"},
        "metrics": {"primary": ["repurchase"], "secondary": ["visits"]},
        "schedule": {"end": "2026-12-01T00:00:00Z"},
    }
    assert apply_one(repository, **fields) == ()
    record = repository.experiment("winback")
    assert record.revision == 2
    assert record.pinned is not None
    assert record.pinned.metrics == {"repurchase": 1, "visits": 1}


def test_after_the_end_only_words_change(store: Store) -> None:
    repository = launched(store)
    walk(store, "winback", "ended")
    apply_one(repository, hypothesis={"en": "It worked"})
    assert any("/traffic: cannot change, the experiment is ended" in line for line in refusals(repository, traffic="1"))
    assert any(
        "/variants: cannot change: the experiment is ended" in x for x in refusals(repository, variants=split(1, 2))
    )


@pytest.mark.parametrize("state", ["review", "testing"])
def test_an_edit_of_the_design_sends_it_back_to_draft(store: Store, state: str) -> None:
    repository = definitions(store)
    walk(store, "winback", *("review", "testing")[: 1 + (state == "testing")])
    apply_one(repository, overrides={"tester": "control"})
    assert repository.experiment("winback").state == state
    assert apply_one(repository, traffic="1") == ("back to draft: the design was edited",)
    assert repository.experiment("winback").state == "draft"


@pytest.mark.parametrize(
    ("index", "before", "after", "message"),
    [
        (0, "{type: string, changes", "{type: number, changes", "/attributes/stage: cannot change while a running"),
        (0, "  tier: {type: string}\n", "", "/attributes/tier: cannot change while a running experiment uses it"),
        (2, "share: 10%", "share: 20%", "/share: cannot change while a running experiment uses it"),
        (1, "key: coupons", "key: coupons\nunit_type: store", "/unit_type: cannot change while winback uses the layer"),
    ],
)
def test_what_a_running_experiment_stands_on_is_frozen(
    store: Store, index: int, before: str, after: str, message: str
) -> None:
    repository = launched(store)
    document = SHOP.split("---")[index]
    assert before in document
    with pytest.raises(DefinitionError) as caught:
        repository.apply(load_text(document.replace(before, after)), "ann")
    assert any(message in str(problem) for problem in caught.value.problems)


def test_an_experiment_that_is_over_holds_nothing_up(store: Store) -> None:
    repository = launched(store)
    walk(store, "winback", "ended")
    project = SHOP.split("---")[0].replace("  tier: {type: string}\n", "")
    (change,) = repository.apply(load_text(project), "ann")
    assert change.action == "revised"


def test_a_new_global_holdout_does_not_reach_a_running_experiment(store: Store) -> None:
    repository = launched(store)
    repository.apply(load_text("kind: holdout\nkey: later\nshare: 50%\n"), "ann")
    plan = plan_of(repository, repository.experiment("winback"))
    assert [holdout.key for holdout in plan.holdouts] == ["everyone"]


def test_two_experiments_cannot_take_the_same_slots(store: Store) -> None:
    repository = launched(store)
    other = changed(repository).model_copy(update={"key": "other", "overrides": {}})
    repository.apply([other], "ann")
    walk(store, "other", "review")
    with pytest.raises(TransitionError, match=r"other overlaps winback in layer coupons, which takes \[0, 0.5\)"):
        transition(store, "other", "testing", "ann")
    walk(store, "winback", "ended")
    walk(store, "other", "testing")


def test_one_of_twenty_writers_with_the_same_version_wins(store: Store) -> None:
    repository = definitions(store)
    version = repository.experiment("winback").version_id
    audited = len(audit.rows(store))

    def write(number: int) -> str:
        try:
            repository.apply(
                [changed(repository, owner=f"writer-{number}")], "ann", expected={("experiment", "winback"): version}
            )
        except StaleVersionError:
            return "stale"
        return "won"

    with ThreadPoolExecutor(8) as pool:
        results = sorted(pool.map(write, range(20)))
    assert results == ["stale"] * 19 + ["won"]
    assert len(audit.rows(store)) == audited + 1
    assert repository.experiment("winback").version_id == version + 1
    assert audit.broken_at(store) is None


def test_a_move_by_somebody_who_read_an_older_version_is_refused(store: Store) -> None:
    repository = definitions(store)
    version = repository.experiment("winback").version_id
    apply_one(repository, owner="bob")
    with pytest.raises(StaleVersionError, match=f"you read version {version}"):
        transition(store, "winback", "review", "ann", version_id=version)
    with pytest.raises(StaleVersionError, match="exists already"):
        repository.apply([changed(repository)], "ann", expected={("experiment", "winback"): 0})


def test_every_change_is_audited_in_a_chain_that_shows_tampering(store: Store) -> None:
    repository = launched(store)
    apply_one(repository, traffic="0.2", overrides={"secret-member": "a"})
    walk(store, "winback", "paused")
    rows = audit.rows(store, "experiment", "winback")
    assert [row.action for row in rows] == [
        "created",
        "transition",
        "transition",
        "transition",
        "phase_opened",
        "revised",
        "phase_opened",
        "transition",
    ]
    assert '"before":"0.5"' in rows[5].detail
    assert "secret-member" not in "".join(row.detail for row in rows)
    assert rows[-1].reason == "because"
    assert audit.broken_at(store) is None
    with store.begin() as connection:
        connection.execute(sa.update(audit_log).where(audit_log.c.number == 3).values(actor="nobody"))
    assert audit.broken_at(store) == 3
    with store.begin() as connection:
        connection.execute(sa.delete(audit_log).where(audit_log.c.number == 3))
    assert audit.broken_at(store) == 4


def test_another_database_gets_the_same_definitions_salts_and_phases(store: Store, tmp_path: object) -> None:
    from experiments.store import open_store
    from experiments.store.migrate import upgrade

    repository = launched(store)
    apply_one(repository, variants=split(1, 2))
    text = repository.export()
    other = open_store(f"sqlite:///{tmp_path}/other.sqlite")
    upgrade(other)
    there = Repository(other)
    assert {change.action for change in there.apply(load_text(text), "bob")} == {"created"}
    assert {change.action for change in there.apply(load_text(text), "bob")} == {"unchanged"}
    assert {change.action for change in repository.apply(load_text(text), "bob")} == {"unchanged"}
    assert there.catalogue() == repository.catalogue()
    ours, theirs = repository.experiment("winback"), there.experiment("winback")
    assert (theirs.state, theirs.salt, theirs.phases) == ("draft", ours.salt, ours.phases)
    walk(other, "winback", "review", "running")
    assert there.experiment("winback").phases == ours.phases
    assert there.export().replace("# running, revision 1", "# running, revision 2") == text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("salt: ", "salt: 0", "is not a salt"),
        ("carry: start", "carry: keep", "only phase 1 has carry: start, and it must"),
        ("phase: 1", "phase: 2", "must be phase 1"),
        ("        control: 1\n        a: 1\n", "        a: 1\n        control: 1\n", "in another order"),
    ],
)
def test_phases_that_were_edited_by_hand_are_refused(store: Store, before: str, after: str, message: str) -> None:
    repository = launched(store)
    text = repository.export([("experiment", "winback")])
    assert before in text
    with pytest.raises(DefinitionError, match=message):
        repository.apply(load_text(text.replace(before, after)), "ann")


def test_salts_never_change(store: Store) -> None:
    repository = definitions(store)
    salt = repository.experiment("winback").salt
    other = "0123456789abcdef"
    with pytest.raises(DefinitionError, match="/made/salt: is another salt than it has here, and salts never change"):
        repository.apply(load_text(repository.export().replace(salt, other)), "ann")


def test_an_exported_experiment_brings_what_it_refers_to(store: Store) -> None:
    repository = definitions(store)
    documents = load_text(repository.export([("experiment", "winback")]))
    keys = [(loaded.definition.kind, loaded.definition.key) for loaded in documents]
    assert keys == [
        ("project", "project"),
        ("offer", "save-20"),
        ("metric", "repurchase"),
        ("layer", "coupons"),
        ("holdout", "everyone"),
        ("experiment", "winback"),
    ]


def test_nothing_is_ever_deleted(store: Store) -> None:
    repository = launched(store)
    for number in range(3):
        apply_one(repository, owner=f"o{number}")
    with store.read() as connection:
        count = connection.scalar(
            sa.select(sa.func.count()).where(
                definition_revisions.c.kind == "experiment", definition_revisions.c.key == "winback"
            )
        )
    assert count == 4
