"""Random experiments and members, the same for every engine that must assign as Python does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from allocation import Decision, Enrolment, MemberState, compile_snapshot, decide
from allocation.hashing import SPACE, UnitError, digest
from allocation.plan import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
)

NOW = 1_772_500_000_000_000
DAY_US = 86_400_000_000

ATTRIBUTES = {
    "stage": AttributePlan("string"),
    "spend": AttributePlan("number"),
    "vip": AttributePlan("boolean"),
    "last_order_at": AttributePlan("date"),
}
RULES: list[Any] = [
    None,
    None,
    {"attribute": "stage", "op": "in", "value": ["dormant", "流失"]},
    {"all": [{"attribute": "vip", "op": "eq", "value": True}, {"attribute": "spend", "op": "gte", "value": 99.5}]},
    {"not": {"attribute": "stage", "op": "starts_with", "value": "d"}},
    {"any": [{"attribute": "last_order_at", "op": "days_since", "gte": 30}, {"attribute": "vip", "op": "exists"}]},
    {"attribute": "last_order_at", "op": "days_since", "gte": 0, "lte": 60},
]
ODD_UNITS = ["a:b", "it's", 'say "hi"', "back\\slash", "满减", "🙂", " ", "e\u0301", "\t", "ü" * 128, "x" * 256]
BAD_UNITS = ["", "x" * 257, "ü" * 129]


@dataclass
class Member:
    """One row of the table and what the node knows of it."""

    unit: str | None
    attributes: dict[str, Any]
    opted_out: bool | None
    enrolment: tuple[int, str] | None = None


@dataclass
class Case:
    """An experiment, when it is asked, and which tables the query is given."""

    plan: ExperimentPlan
    excluded: tuple[str, ...]
    now: int = NOW
    with_opt_out: bool = True
    with_enrolments: bool = True
    members: list[Member] = field(default_factory=list)

    def expected(self) -> list[tuple[str | None, str | None, str]]:
        """Return (unit, variant, reason) of each member as `allocation.decide` answers."""
        compiled = compile_snapshot(
            Snapshot("v", 0, {self.plan.key: self.plan}, excluded={self.plan.unit_type: self.excluded})
        )
        assert not compiled.refused
        answers = []
        for member in self.members:
            enrolments = {}
            if member.enrolment is not None and self.with_enrolments:
                phase, variant = member.enrolment
                enrolments[self.plan.key] = Enrolment(phase, variant, 0)
            opted_out = bool(member.opted_out) and self.with_opt_out
            state = MemberState(member.attributes, enrolments, opted_out)
            try:
                answer: Decision = decide(compiled, self.plan.key, member.unit, now=self.now, state=state)  # type: ignore[arg-type]
            except UnitError:
                answers.append((member.unit, None, "invalid_unit"))
            else:
                answers.append((member.unit, answer.variant, answer.reason))
        return answers


def cases(count: int, rows: int, seed: int) -> list[Case]:
    """Return ``count`` random cases of ``rows`` members each, always the same for one seed."""
    rng = random.Random(seed)
    return [_case(rng, rows) for _ in range(count)]


def _case(rng: random.Random, rows: int) -> Case:
    keys = rng.sample(["control", "a", "b", "it's", "减\\免"], rng.choice([1, 2, 3, 4]))
    units: list[str | None] = [f"m-{rng.randrange(10**9)}" for _ in range(rows - 20)]
    units += [*rng.sample(ODD_UNITS, 8), *BAD_UNITS, None]
    units = list(dict.fromkeys(units))
    known = [unit for unit in units if unit]
    salts = [f"{rng.getrandbits(64):016x}" for _ in range(5)]
    phases = [PhasePlan(1, salts[0], _weights(rng, len(keys)), _traffic(rng, salts[0], known))]
    if rng.random() < 0.4:
        opened = rng.choice(["keep", "reassign"])
        salt = salts[0] if opened == "keep" else salts[1]
        phases.append(PhasePlan(2, salt, _weights(rng, len(keys)), _traffic(rng, salt, known), opened))
    plan = ExperimentPlan(
        key="exp",
        revision=1,
        state=rng.choices(["running", "paused", "testing", "ended", "draft"], [12, 3, 1, 1, 1])[0],  # type: ignore[arg-type]
        variants=tuple(VariantPlan(key) for key in keys),
        phases=tuple(phases),
        start=rng.choice([None, None, NOW - DAY_US, NOW, NOW + 1]),
        end=rng.choice([None, None, None, NOW + DAY_US, NOW]),
        audience=rng.choice(RULES),
        attributes=ATTRIBUTES,
        sticky=rng.random() < 0.4,
        layer=_layer(rng, salts[2], known) if rng.random() < 0.6 else None,
        holdouts=tuple(
            HoldoutPlan(f"h{i}", salts[3 + i], _share(rng, salts[3 + i], known)) for i in range(rng.choice([0, 1, 2]))
        ),
        overrides={unit: rng.choice(keys) for unit in rng.sample(known, rng.choice([0, 0, 5]))},
        excluded=tuple(rng.sample(known, rng.choice([0, 4]))),
    )
    case = Case(plan, tuple(rng.sample(known, rng.choice([0, 3]))))
    case.with_opt_out = rng.random() < 0.7
    case.with_enrolments = rng.random() < 0.7
    case.members = [_member(rng, unit, keys) for unit in units]
    return case


def _weights(rng: random.Random, size: int) -> tuple[int, ...]:
    weights = [rng.choice([0, 1, 1, 1, 3]) for _ in range(size)]
    if not any(weights):
        weights[rng.randrange(size)] = 1
    return tuple(weights)


def _traffic(rng: random.Random, salt: str, units: list[str]) -> str:
    if rng.random() < 0.5:
        return "1"
    at = int(digest(salt, rng.choice(units))[13:26], 16)  # exactly at one unit's own digits, or one above
    return rng.choice(["0.5", "0", f"{at}/{SPACE}", f"{at + 1}/{SPACE}"])


def _share(rng: random.Random, salt: str, units: list[str]) -> str:
    at = int(digest(salt, rng.choice(units))[:13], 16)
    return rng.choice(["0", "0.1", "0.3", f"{at // 4}/{SPACE}", f"{at}/{SPACE}", f"{at + 1}/{SPACE}"])


def _layer(rng: random.Random, salt: str, units: list[str]) -> LayerPlan:
    at = int(digest(salt, rng.choice(units))[:13], 16)
    slots: tuple[tuple[str, str], ...] = rng.choice(
        [
            (("0", "1"),),
            (("0", "0.5"),),
            (("0.25", "0.9"),),
            (("1/3", "1"),),
            ((f"{at}/{SPACE}", "1"),),
            (("0", f"{at}/{SPACE}"),),
            (("0.1", "0.4"), ("0.5", "1")),
            (("0", "0.2"), ("0.3", "0.3"), ("0.6", f"{max(at, 3 * SPACE // 4)}/{SPACE}")),
            (),
        ]
    )
    return LayerPlan("layer", salt, slots)


def _member(rng: random.Random, unit: str | None, keys: list[str]) -> Member:
    attributes: dict[str, Any] = {}
    if rng.random() < 0.8:
        attributes["stage"] = rng.choice(["dormant", "流失", "new", "Dormant", "d"])
    if rng.random() < 0.8:
        attributes["spend"] = rng.choice([0.0, 99.5, 99.49999999999999, 120.0])
    if rng.random() < 0.8:
        attributes["vip"] = rng.random() < 0.6
    if rng.random() < 0.8:
        attributes["last_order_at"] = rng.choice(
            ["2026-03-03", "2026-02-01T01:06:40", "2025-11-30 12:00:00.5", "2026-01-02"]
        )
    enrolment = None
    if unit and rng.random() < 0.4:
        enrolment = (rng.choice([1, 1, 2, 3]), rng.choice([*keys, "gone"]))
    return Member(unit, attributes, rng.choice([None, False, False, False, True]), enrolment)
