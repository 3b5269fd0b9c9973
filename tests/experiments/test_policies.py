"""What happens to versions of a policy: gate, ramp, people, masks; what is published; all of it in the audit trail."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from allocation.bandits.drawing import BanditDraw
from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.policy import Policy, to_bytes
from allocation.compiled import compile_experiment
from experiments.definitions import Metric
from experiments.definitions.allocation import Gate
from experiments.keeping import audit
from experiments.keeping.repository import Repository
from experiments.learning import approving, ramping, versions
from experiments.learning.approving import PolicyError
from experiments.learning.as_drawn import Floors, drawn_by, drawn_evenly
from experiments.learning.gate import Case, judge, logged_mixture, versions_beside
from experiments.learning.gating import gate_candidate, watch_ramp
from experiments.learning.guardrails import broken, take_out_broken
from experiments.learning.rows import LearningRows
from experiments.learning.versions import NewVersion, VersionError
from experiments.publishing.plans import plan_of
from experiments.publishing.publish import build_snapshot
from experiments.store import Store
from experiments.store.webhook_tables import webhook_deliveries
from experiments.webhooks import hooks
from tests.experiments.learning_shop import KEY, VARIANTS, allocation, bandit, days, drawn, shop
from tests.experiments.measuring import START_US, happened
from tests.experiments.measuring import record as put

HOUR = 3_600_000_000
STAGES = ("new", "loyal")
ENCODER = Encoder((FeatureCode("stage", "categorical", levels=STAGES), FeatureCode("orders", "numeric")))
SETTINGS = Settings(
    VARIANTS, (FeatureSpec("stage", "categorical"), FeatureSpec("orders", "numeric")), model="linear", contact=(0, 0, 0)
)


def policy(best: int, sharp: float = 4.0) -> Policy:
    """A version that prefers one variant, whoever asks."""
    coef = np.zeros((3, len(ENCODER.columns)))
    coef[best, 0] = 1.0
    return Policy(
        variants=VARIANTS, kind="contextual", rule="igw", encoder=ENCODER, model="linear", coef=coef,
        sharpness=sharp, effective_rows=1000.0,
    )  # fmt: skip


def made(store: Store, best: int, at: int, **about: Any) -> int:
    """Keep a candidate."""
    told = {"rows_by_variant": dict.fromkeys(VARIANTS, 500), **about}
    with store.begin() as connection:
        return versions.insert(connection, NewVersion(KEY, to_bytes(policy(best)), "igw", at, at, 1500, about=told))


def states(store: Store) -> dict[int, str]:
    with store.read() as connection:
        return {version.version: version.state for version in versions.read(connection, KEY)}


def actions(store: Store) -> list[str]:
    kinds = ("policy_", "variant_")
    return [row.action for row in audit.rows(store, "experiment", KEY) if row.action.startswith(kinds)]


def logged(rng: np.random.Generator, n: int, best: int, version: int, earns: tuple[float, ...]) -> LearningRows:
    """Rows that a version drew, a tenth of them in the control group, of members that return three times."""
    unit = rng.integers(0, n // 3, n)
    control = (np.arange(n // 3) % 10 == 0)[unit]
    stage = np.array(STAGES, dtype=object)[unit % 2]
    columns = {"stage": stage, "orders": (unit % 7).astype(object)}
    eligible = np.ones((n, 3), dtype=np.bool_)
    floors = Floors(0.02, (0.0,) * 3, (1.0,) * 3)
    p = drawn_by(policy(best), VARIANTS, columns, eligible, floors) if version else drawn_evenly(eligible, floors)
    p[control] = 1 / 3
    variant = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).clip(0, 2)
    converted = rng.random(n) < np.array(earns)[variant]
    return LearningRows(
        variants=VARIANTS, until=START_US + days(30), decision_id=np.arange(n).astype(object), unit=unit,
        at=START_US + np.arange(n) * 1000, version=np.where(control, 0, version),
        group=np.where(control, "uniform", "policy").astype(object), variant=variant.astype(np.intp), eligible=eligible,
        p=p, propensity=p[np.arange(n), variant], columns=columns, converted=converted,
        amount=converted.astype(np.float64), contact=np.zeros(3),
    )  # fmt: skip


@pytest.fixture
def learning(store: Store) -> Store:
    """A shop whose experiment learns, in steps of two hours."""
    gate = {"ramp": ["0.1", "0.5", "1"], "ramp_hours": 2, "min_effective_sample": 50}
    shop(store, bandit(primary="buys", allocation=allocation(gate=gate, explore="0.02")))
    return store


# what is published ----------------------------------------------------------------------------------------------------


def test_published_are_the_live_version_then_the_ramped_one_with_masks_and_floors(learning: Store) -> None:
    store = learning
    first, second = made(store, 0, START_US + 1), 0
    cold = build_snapshot(store, START_US + 2).experiments[KEY]
    assert (cold.allocation, cold.requires, cold.sticky) == ("bandit", ("bandit",), False)
    assert cold.bandit is not None
    assert cold.bandit.policies == ()  # a candidate draws for nobody
    assert (cold.bandit.control_share, cold.bandit.explore, cold.bandit.features) == (
        "0.05",
        "0.02",
        ("stage", "orders"),
    )
    approving.approve(store, KEY, first, actor="ann", now=START_US + HOUR)
    for hours in (4, 7):
        ramping.advance(store, START_US + hours * HOUR)
    second = made(store, 1, START_US + 8 * HOUR, rows_by_variant={"control": 500, "save": 500, "gift": 3})
    approving.approve(store, KEY, second, actor="ann", now=START_US + 9 * HOUR)
    approving.mask(store, KEY, "save", actor="ann", now=START_US + 9 * HOUR)
    plan = plan_of(Repository(store), Repository(store).experiment(KEY)).bandit
    assert plan is not None
    assert [(p.version, p.share) for p in plan.policies] == [(1, "1"), (2, "0.1")]
    assert plan.masked == ("save",)
    assert plan.forced == {"gift": "0.166667"}  # half of an even share, until enough is known


def test_a_published_plan_is_drawn_as_the_gate_values_it(learning: Store) -> None:
    """`drawn_by` for many rows is what `BanditDraw` draws one member from."""
    store = learning
    number = made(store, 1, START_US + 1, rows_by_variant={"control": 500, "save": 500, "gift": 3})
    approving.approve(store, KEY, number, actor="ann", now=START_US)
    for hours in (2, 4):
        ramping.advance(store, START_US + hours * HOUR)
    record = Repository(store).experiment(KEY)
    plan = plan_of(Repository(store), record)
    assert plan.bandit is not None
    bandit_plan = replace_struct(plan.bandit, control_share="0", min_shares={"control": "0.2"})
    compiled = compile_experiment(replace_struct(plan, bandit=bandit_plan), policies=lambda _: policy(1))
    assert isinstance(compiled.draw, BanditDraw)
    members = [{"stage": stage, "orders": orders} for stage in (*STAGES, None, "odd") for orders in (0, 3.5, None)]
    columns = {name: np.array([m[name] for m in members], dtype=object) for name in ("stage", "orders")}
    floors = Floors.of(bandit_plan, dict.fromkeys(VARIANTS, 1))
    batch = drawn_by(policy(1), VARIANTS, columns, np.ones((len(members), 3), dtype=np.bool_), floors)
    for member, row in zip(members, batch, strict=True):
        outcome = compiled.draw("", "m-1", "", member, START_US)
        assert json.loads(outcome.policy or "")["p"] == pytest.approx(row.tolist(), abs=1e-12)


def replace_struct(value: Any, **fields: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(value, **fields)


# people ---------------------------------------------------------------------------------------------------------------


def test_a_version_is_ramped_up_step_by_step_and_everything_is_written_down(learning: Store) -> None:
    store = learning
    hook, _ = hooks.create(store, "https://hooks.example.com/x", ("policy.live", "variant.masked"), actor="ann")
    number = made(store, 1, START_US)
    assert approving.approve(store, KEY, number, actor="ann", now=START_US + HOUR).share == "0.1"
    assert ramping.advance(store, START_US + 2 * HOUR) == []  # the step lasts two hours
    assert [moved.share for moved in ramping.advance(store, START_US + 3 * HOUR)] == ["0.5"]
    assert ramping.advance(store, START_US + 3 * HOUR) == []
    assert [moved.state for moved in ramping.advance(store, START_US + 5 * HOUR)] == ["live"]
    assert ramping.advance(store, START_US + 9 * HOUR) == []
    approving.mask(store, KEY, "gift", actor="bob", reason="sold out", now=START_US + 9 * HOUR)
    assert approving.unmask(store, KEY, "gift", actor="bob", now=START_US + 10 * HOUR) == ()
    assert actions(store) == [
        "policy_approved", "policy_ramped", "policy_ramped", "policy_live", "variant_masked", "variant_unmasked",
    ]  # fmt: skip
    assert audit.broken_at(store) is None
    with store.read() as connection:
        told = connection.scalars(sa.select(webhook_deliveries.c.type).order_by(webhook_deliveries.c.created_at)).all()
    assert list(told) == ["policy.live", "variant.masked"]
    assert hook.events


def test_a_paused_experiment_keeps_its_step(learning: Store) -> None:
    from tests.experiments.small_shop import walk

    number = made(learning, 1, START_US)
    approving.approve(learning, KEY, number, actor="ann", now=START_US)
    walk(learning, KEY, "paused", now=START_US + HOUR)
    assert ramping.advance(learning, START_US + 9 * HOUR) == []


def live(store: Store, best: int, at: int) -> int:
    number = made(store, best, at)
    approving.approve(store, KEY, number, actor="ann", now=at)
    for step in (1, 2):
        ramping.advance(store, at + step * 2 * HOUR)
    return number


def test_rolling_back_takes_the_ramped_one_then_the_live_one_then_draws_evenly(learning: Store) -> None:
    store = learning
    one, two = live(store, 0, START_US), live(store, 1, START_US + 10 * HOUR)
    three = made(store, 2, START_US + 20 * HOUR)
    approving.approve(store, KEY, three, actor="ann", now=START_US + 21 * HOUR)
    back = approving.roll_back(store, KEY, actor="ann", reason="complaints", now=START_US + 22 * HOUR)
    assert back is not None
    assert back.version == two
    assert states(store) == {one: "replaced", two: "live", three: "rolled_back"}
    back = approving.roll_back(store, KEY, actor="ann")
    assert back is not None
    assert back.version == one
    assert states(store) == {one: "live", two: "rolled_back", three: "rolled_back"}
    assert approving.roll_back(store, KEY, actor="ann") is None
    with store.read() as connection:
        plan = plan_of(Repository(store), Repository(store).experiment(KEY)).bandit
        assert plan is not None
        assert plan.policies == ()
        assert approving.must_wait(connection, KEY, allocation_of(store))  # none comes again by itself
    with pytest.raises(PolicyError, match="nothing to roll back"):
        approving.roll_back(store, KEY, actor="ann")


def test_rolling_back_to_a_version_or_to_an_even_draw(learning: Store) -> None:
    store = learning
    one, two = live(store, 0, START_US), live(store, 1, START_US + 10 * HOUR)
    with pytest.raises(PolicyError, match="draws already"):
        approving.roll_back(store, KEY, actor="ann", to=two)
    with pytest.raises(VersionError, match="no policy version 9"):
        approving.roll_back(store, KEY, actor="ann", to=9)
    assert states(store) == {one: "replaced", two: "live"}  # what was refused has changed nothing
    approving.roll_back(store, KEY, actor="ann", to=0)
    assert states(store) == {one: "replaced", two: "rolled_back"}


def allocation_of(store: Store) -> Any:
    return Repository(store).experiment(KEY).definition.allocation


def test_what_cannot_be_done_is_refused_with_what_can(learning: Store) -> None:
    store = learning
    number = made(store, 1, START_US)
    assert approving.reject(store, KEY, number, actor="ann", reason="no").state == "rejected"
    with pytest.raises(PolicyError, match="is rejected; only one that is waiting or blocked"):
        approving.approve(store, KEY, number, actor="ann")
    with pytest.raises(PolicyError, match='no variant "b"; use one of control, save, gift'):
        approving.mask(store, KEY, "b", actor="ann")
    with pytest.raises(PolicyError, match="not taken out; these are: none"):
        approving.unmask(store, KEY, "save", actor="ann")
    for variant in ("save", "gift"):
        approving.mask(store, KEY, variant, actor="ann")
    with pytest.raises(PolicyError, match="the last variant"):
        approving.mask(store, KEY, "control", actor="ann")
    assert approving.mask(store, KEY, "save", actor="ann") == ("gift", "save")  # again is no change


def test_an_experiment_of_the_hash_has_no_policy(store: Store) -> None:
    shop(store, bandit(primary="buys", allocation=None))
    with pytest.raises(PolicyError, match="draws by the hash"):
        approving.roll_back(store, KEY, actor="ann")
    assert plan_of(Repository(store), Repository(store).experiment(KEY)).bandit is None


# the gate -------------------------------------------------------------------------------------------------------------


def test_a_good_version_passes_and_is_ramped_up_and_a_bad_one_is_blocked(learning: Store) -> None:
    store = learning
    record = Repository(store).experiment(KEY)
    rng = np.random.default_rng(11)
    cold = logged(rng, 6000, 0, 0, (0.1, 0.3, 0.1))
    good = made(store, 1, START_US + HOUR)
    found = gate_candidate(store, record, cold, SETTINGS, START_US + HOUR)
    assert found is not None
    assert (found[0].version, found[0].state, found[0].share, found[1].passed) == (good, "ramping", "0.1", True)
    assert found[0].gate["compared_with"] == 0
    assert found[0].gate["difference"] == pytest.approx(0.13, abs=0.04)  # .3 against a mean of .167
    assert gate_candidate(store, record, cold, SETTINGS) is None  # nothing waits
    bad = made(store, 2, START_US + 2 * HOUR)
    assert gate_candidate(store, record, cold, SETTINGS) is None  # until the ramp is over
    for hours in (3, 6):
        ramping.advance(store, START_US + hours * HOUR)
    warm = logged(rng, 20_000, 1, good, (0.1, 0.3, 0.1))
    found = gate_candidate(store, record, warm, SETTINGS)
    assert found is not None
    assert (found[0].version, found[0].state, found[1].reasons) == (bad, "blocked", ("harm",))
    assert found[1].compared_with == good
    with pytest.raises(PolicyError, match="give a reason"):
        approving.approve(store, KEY, bad, actor="ann")
    assert approving.approve(store, KEY, bad, actor="ann", reason="we know better").state == "ramping"
    assert actions(store)[:2] == ["policy_passed", "policy_ramped"]
    assert "policy_blocked" in actions(store)


def test_a_version_that_starts_from_a_finished_test_is_judged_on_it(learning: Store) -> None:
    """The test had its variants in another order, one of its own, and nothing is logged here yet."""
    record = Repository(learning).experiment(KEY)
    rows = logged(np.random.default_rng(12), 6000, 0, 0, (0.1, 0.3, 0.1))
    order = ("gift", "control", "old", "save")
    place = np.array([1, 3, 0])  # of control, save, gift
    p = np.zeros((rows.n, 4))
    p[:, place] = 0.3
    p[:, 2] = 0.1
    old = np.arange(rows.n) % 10 == 0
    finished = replace(
        rows, variants=order, variant=np.where(old, 2, place[rows.variant]), p=p, eligible=p > 0,
        propensity=np.where(old, 0.1, 0.3), contact=np.zeros(4), group=np.full(rows.n, "hash", dtype=object),
    )  # fmt: skip
    none = rows.take(np.zeros(rows.n, dtype=np.bool_))
    good = made(learning, 1, START_US + HOUR)
    found = gate_candidate(learning, record, none, SETTINGS, START_US + HOUR, warm=finished)
    assert found is not None
    assert (found[0].version, found[0].state, found[1].reasons) == (good, "ramping", ())
    assert found[1].rows == 5400
    assert found[1].difference == pytest.approx(0.13, abs=0.04)


def test_a_version_waits_where_somebody_must_approve(store: Store) -> None:
    gate = {"approval": "manual", "min_effective_sample": 50}
    shop(store, bandit(primary="buys", allocation=allocation(gate=gate)))
    made(store, 1, START_US)
    rows = logged(np.random.default_rng(1), 3000, 0, 0, (0.1, 0.3, 0.1))
    found = gate_candidate(store, Repository(store).experiment(KEY), rows, SETTINGS)
    assert found is not None
    assert (found[0].state, found[1].passed) == ("waiting", True)


def case(rows: LearningRows, new: int, **fields: Any) -> Case:
    given: dict[str, Any] = {
        "rows": rows, "new": policy(new), "live": policy(1), "live_version": 1, "live_until": None,
        "logged": {1: policy(1)}, "floors": Floors(0.02, (0.0,) * 3, (1.0,) * 3),
        "expected": np.zeros((rows.n, 3)), "features": {"stage": "categorical", "orders": "numeric"},
    }  # fmt: skip
    return Case(**(given | fields))


GATE = Gate(min_effective_sample=50)


def test_each_reason_blocks_alone() -> None:
    rng = np.random.default_rng(3)
    rows = logged(rng, 6000, 1, 1, (0.2, 0.2, 0.2))
    assert judge(case(rows, 1), GATE).reasons == ()  # the same again
    assert judge(case(rows, 1, without_probability=1), GATE).reasons == ("missing_probability",)
    assert judge(case(rows, 1), Gate(strict=True, min_effective_sample=50)).reasons == ("not_better",)
    assert judge(case(rows, 1), Gate(min_effective_sample=7000)).reasons == ("thin",)
    half = START_US + 3000 * 1000
    moved = replace(
        rows, columns={**rows.columns, "stage": np.where(rows.at > half, "loyal", rows.columns["stage"]).astype(object)}
    )
    found = judge(case(moved, 1, live_until=half), GATE)
    assert found.reasons == ("drift",)
    assert (found.drift["stage"] or 0) > 0.2 > (found.drift["orders"] or 0)
    behind = logged(rng, 6000, 1, 1, (0.4, 0.2, 0.4))
    assert judge(case(behind, 1), GATE).reasons == ("behind_control",)


def test_a_log_without_its_probabilities_is_noticed() -> None:
    rows = logged(np.random.default_rng(4), 600, 1, 1, (0.2, 0.2, 0.2))
    p = rows.p.copy()
    p[5] = [0.2, 0.2, 0.2]
    assert "missing_probability" in judge(case(replace(rows, p=p), 1), GATE).reasons


def test_nothing_logged_says_nothing() -> None:
    rows = logged(np.random.default_rng(4), 600, 1, 1, (0.2, 0.2, 0.2)).take(np.zeros(600, dtype=np.bool_))
    found = judge(case(rows, 1), GATE)
    assert (found.reasons, found.difference, found.value_live, found.noticeable) == (("thin",), None, None, None)


def test_the_verdict_does_not_depend_on_the_unit_of_money_or_the_order_of_variants() -> None:
    rows = logged(np.random.default_rng(5), 6000, 1, 1, (0.1, 0.2, 0.15))
    one = judge(case(rows, 2), GATE)
    fen = judge(case(replace(rows, amount=rows.amount * 100), 2), GATE)
    assert fen.difference == pytest.approx(100 * (one.difference or 0))
    assert fen.reasons == one.reasons
    assert fen.power == pytest.approx(one.power)
    assert fen.noticeable == pytest.approx(one.noticeable)


def test_decisions_are_weighed_by_the_mixture_of_groups_or_by_their_own_where_floors_have_changed() -> None:
    rows = logged(np.random.default_rng(10), 6000, 1, 1, (0.2, 0.2, 0.2))
    known = case(rows, 2)
    share = (rows.group == "uniform").mean()
    floors = known.floors
    drawn_then = drawn_by(policy(1), VARIANTS, rows.columns, rows.eligible, floors)
    assert logged_mixture(rows, known) == pytest.approx(share / 3 + (1 - share) * drawn_then)
    changed = case(rows, 2, floors=Floors(0.1, (0.0,) * 3, (1.0,) * 3))
    assert logged_mixture(rows, changed) == pytest.approx(rows.p)
    assert logged_mixture(rows, case(rows, 2, logged={})) == pytest.approx(rows.p)


def test_a_version_that_follows_the_members_is_judged_by_what_they_like_now() -> None:
    """First save earns, then gift: over all days the new one loses, with the half-life it is learned with it gains."""
    rng = np.random.default_rng(9)
    before = logged(rng, 12_000, 1, 1, (0.1, 0.4, 0.1))
    after = logged(rng, 6_000, 1, 1, (0.1, 0.1, 0.4))
    names = ("decision_id", "unit", "version", "group", "variant", "eligible", "p", "propensity", "converted", "amount")
    joined: dict[str, Any] = {name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in names}
    at = START_US + np.r_[np.full(12_000, 0), np.full(6_000, days(29))]
    columns = {name: np.concatenate([before.columns[name], after.columns[name]]) for name in before.columns}
    rows = replace(before, at=at, columns=columns, **joined)
    assert judge(case(rows, 2), GATE).reasons == ("harm",)
    found = judge(case(rows, 2, half_life_days=5.0), GATE)
    assert found.reasons == ()
    assert (found.ci_low or 0) > 0


def test_decisions_of_the_control_group_stand_beside_the_version_of_the_policys_before() -> None:
    rows = logged(np.random.default_rng(6), 600, 1, 1, (0.2, 0.2, 0.2)).take(np.arange(6))
    rows = replace(
        rows, group=np.array(["uniform", "policy", "uniform", "policy", "uniform", "uniform"], dtype=object),
        version=np.array([0, 3, 0, 4, 0, 0]),
    )  # fmt: skip
    assert versions_beside(rows).tolist() == [3, 3, 3, 4, 4, 4]


def test_a_harmful_ramp_is_taken_back_and_a_harmless_one_goes_on(learning: Store) -> None:
    store = learning
    record = Repository(store).experiment(KEY)
    one = live(store, 1, START_US)
    two = made(store, 2, START_US + 10 * HOUR)
    approving.approve(store, KEY, two, actor="ann", now=START_US + 11 * HOUR)
    rng = np.random.default_rng(7)
    rows = logged(rng, 6000, 1, one, (0.2, 0.2, 0.2))
    risen = rows.unit % 2 == 1
    rows = replace(rows, version=np.where(risen & (rows.group == "policy"), two, rows.version))
    assert watch_ramp(store, record, rows) is None
    worse = replace(rows, amount=np.where(risen, rows.amount * 0.5, rows.amount))
    found = watch_ramp(store, record, worse)
    assert found is not None
    assert states(store) == {one: "live", two: "rolled_back"}
    assert actions(store)[-1] == "policy_rolled_back"


# guardrails -----------------------------------------------------------------------------------------------------------


def test_a_guardrail_that_breaks_beyond_chance_is_found_by_direction() -> None:
    rows = logged(np.random.default_rng(8), 20_000, 0, 0, (0.05, 0.2, 0.05))
    fields: dict[str, Any] = {"kind": "metric", "key": "gone", "name": "G", "type": "proportion", "event": "E"}
    gone = Metric(**fields, window={"days": 7}, direction="decrease")  # type: ignore[arg-type]
    assert [found.variant for found in broken(rows, "control", gone, 0.1, 0.01)] == ["save"]
    kept = gone.model_copy(update={"direction": "increase"})
    assert broken(rows, "control", kept, 0.1, 0.01) == []
    assert broken(rows.take(np.arange(300)), "control", gone, 0.1, 0.01) == []  # too few


def test_a_variant_that_breaks_a_guardrail_is_taken_out_of_the_running_experiment(store: Store) -> None:
    plan = {"primary": ["buys"], "guardrails": [{"metric": "gone", "margin": "0.1"}]}
    shop(store, bandit(metrics=plan))
    rows: list[Any] = []
    for number in range(2400):
        unit, variant = f"m{number}", VARIANTS[number % 3]
        rows.append(drawn(unit, variant, START_US + number))
        if number % (4 if variant == "gift" else 23) == 0 or (variant == "gift" and number % 3 == 2 and number % 2):
            rows.append(happened("Unsubscribed", unit, START_US + HOUR))
    put(store, rows)
    record = Repository(store).experiment(KEY)
    until = START_US + days(40)
    assert take_out_broken(store, record, until) == ("gift",)
    assert take_out_broken(store, record, until) == ()
    row = audit.rows(store, "experiment", KEY)[-1]
    assert (row.action, row.actor) == ("variant_masked", "gate")
    assert "guardrail gone: worse than control" in (row.reason or "")
