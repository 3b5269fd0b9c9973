"""The gate of new policy versions: how often it holds back one that earns 20 % less, and passes a better one.

Five offers on members of two numbers and one attribute of four stages; some 6 % convert. 100,000 decisions of 40,000
members are logged: the first fifth by an older version, the rest by the live one, 5 % of the members in the control
group. Both versions are drawn by inverse-gap weighting with 2 % explored. Versions before the gate are mixtures of the
live one's coefficients with the true ones, or with those of other offers, so that they earn exactly what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.policy import Policy
from bench.simulations.figure import Figure, share
from experiments.definitions.allocation import Gate
from experiments.learning.as_drawn import Floors, drawn_by, drawn_evenly
from experiments.learning.gate import Case, Verdict, cross_fitted, judge
from experiments.learning.rows import LearningRows
from stats.arrays import FloatArray

SEED = 5050
ROWS = 100_000
MEMBERS = 40_000
VARIANTS = ("control", "a", "b", "c", "d")
STAGES = ("new", "active", "loyal", "dormant")
WORTH = np.array([40.0, 36.0, 32.0, 37.0, 30.0])
CONTACT = np.array([0.0, 0.05, 0.05, 0.05, 0.05])
CONTROL_SHARE = 0.05
FLOORS = Floors(0.02, (0.0,) * len(VARIANTS), (1.0,) * len(VARIANTS))
ENCODER = Encoder(
    (
        FeatureCode("spend", "numeric"),
        FeatureCode("recency", "numeric"),
        FeatureCode("stage", "categorical", levels=STAGES),
    )
)
SETTINGS = Settings(
    VARIANTS,
    (FeatureSpec("spend", "numeric"), FeatureSpec("recency", "numeric"), FeatureSpec("stage", "categorical")),
    worth=tuple(WORTH.tolist()),
    contact=tuple(CONTACT.tolist()),
)
Members = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class World:
    """What is true, the versions, and what they earn a decision."""

    truth: FloatArray
    older: Policy
    live: Policy
    worse: Policy
    equal: Policy
    better: Policy
    earned: float


def members(rng: np.random.Generator, n: int) -> Members:
    """Draw members' attributes."""
    stages = np.array(STAGES, dtype=object)
    return {
        "spend": rng.standard_normal(n).astype(object),
        "recency": rng.standard_normal(n).astype(object),
        "stage": stages[rng.integers(0, len(STAGES), n)],
    }


def policy(coef: FloatArray, scale: float = 8.0) -> Policy:
    """Return a version with these coefficients."""
    return Policy(
        variants=VARIANTS, kind="contextual", rule="igw", encoder=ENCODER, model="logistic", coef=coef, worth=WORTH,
        contact=CONTACT, scale=scale, effective_rows=float(ROWS),
    )  # fmt: skip


def chances(truth: FloatArray, columns: Members) -> FloatArray:
    """Return the probability that each member converts under each variant, shape (n, K)."""
    encoded = ENCODER.encode_columns(columns, len(columns["spend"]))
    found: FloatArray = 1 / (1 + np.exp(-ENCODER.design(encoded) @ truth.T))
    return found


def draw_world(rng: np.random.Generator) -> World:
    """Draw a truth, and versions that earn 20 % less, as much, and 5 % more than the live one."""
    columns = members(rng, 8_000)
    everybody = np.ones((8_000, len(VARIANTS)), dtype=np.bool_)
    size = len(ENCODER.columns)
    common, own = rng.normal(0, 0.3, size), rng.normal(0, 0.35, (len(VARIANTS), size))
    truth = common + own
    truth[:, 0] = -3.4 + rng.normal(0, 0.15, len(VARIANTS))
    profit = chances(truth, columns) * WORTH - CONTACT

    def earns(coef: FloatArray) -> float:
        p = drawn_by(policy(coef), VARIANTS, columns, everybody, FLOORS)
        return float((p * profit).sum(axis=1).mean())

    def towards(start: FloatArray, end: FloatArray, wanted: float) -> FloatArray:
        """Return the mixture of two versions' coefficients that earns what is wanted."""
        low, high = 0.0, 1.0
        rising = earns(end) > earns(start)
        for _ in range(20):
            middle = (low + high) / 2
            short = (earns(start + middle * (end - start)) < wanted) == rising
            low, high = (middle, high) if short else (low, middle)
        return start + high * (end - start)

    best = earns(truth)
    blurred = truth + rng.normal(0, 0.8, truth.shape)
    live = towards(truth, blurred, 0.93 * best) if earns(blurred) < 0.93 * best else blurred
    earned = earns(live)
    elsewhere = min((np.roll(truth, shift, axis=0) for shift in range(1, len(VARIANTS))), key=earns)
    return World(
        truth,
        policy(towards(truth, elsewhere, 0.85 * best)),
        policy(live),
        policy(towards(live, elsewhere, 0.8 * earned)),
        policy(towards(truth + rng.normal(0, 0.8, truth.shape), truth, earned)),
        policy(towards(live, truth, 1.05 * earned)),
        earned,
    )


def log_of(rng: np.random.Generator, world: World) -> LearningRows:
    """Draw the log: who was there, what was drawn with which probability, and who converted."""
    unit = rng.integers(0, MEMBERS, ROWS)
    who = members(rng, MEMBERS)
    columns = {name: values[unit] for name, values in who.items()}
    control = (rng.random(MEMBERS) < CONTROL_SHARE)[unit]
    old = np.arange(ROWS) < ROWS // 5
    eligible = np.ones((ROWS, len(VARIANTS)), dtype=np.bool_)
    p = drawn_by(world.live, VARIANTS, columns, eligible, FLOORS)
    p[old] = drawn_by(world.older, VARIANTS, {k: v[old] for k, v in columns.items()}, eligible[old], FLOORS)
    p[control] = drawn_evenly(eligible[control], FLOORS, "uniform")
    variant = (rng.random(ROWS)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).clip(0, len(VARIANTS) - 1)
    at = np.arange(ROWS)
    # Members differ in ways that nobody sees, so that decisions of one resemble each other.
    chance = chances(world.truth, columns)[at, variant] * rng.gamma(4.0, 0.25, MEMBERS)[unit]
    converted = rng.random(ROWS) < chance
    return LearningRows(
        variants=VARIANTS,
        until=ROWS,
        decision_id=at.astype(object),
        unit=unit.astype(np.intp),
        at=at.astype(np.int64),
        version=np.where(control, 0, np.where(old, 1, 2)),
        group=np.where(control, "uniform", "policy").astype(object),
        variant=variant.astype(np.intp),
        eligible=eligible,
        p=p,
        propensity=p[at, variant],
        columns=columns,
        converted=converted,
        amount=np.where(converted, WORTH[variant], 0.0),
        contact=CONTACT,
    )


def verdicts(seed: int) -> dict[str, Verdict]:
    """Return what the gate finds of each version in one drawn world."""
    rng = np.random.default_rng([SEED, seed])
    world = draw_world(rng)
    rows = log_of(rng, world)
    expected = cross_fitted(rows, SETTINGS)
    versions = {"20 % worse": world.worse, "another, as good": world.equal, "5 % better": world.better}
    features = {feature.attribute: feature.kind for feature in SETTINGS.features}
    return {
        name: judge(
            Case(
                rows=rows,
                new=new,
                live=world.live,
                live_version=2,
                live_until=ROWS // 5,
                logged={1: world.older, 2: world.live},
                floors=FLOORS,
                expected=expected,
                features=features,
            ),
            Gate(),
        )
        for name, new in versions.items()
    }


def run(*, runs: int = 60, seed: int = SEED, told: Callable[[dict[str, Verdict]], None] | None = None) -> list[Figure]:
    """Return the figures.

    Args:
        runs: worlds that are drawn.
        seed: of the first; the others follow.
        told: is given each world's verdicts.
    """
    counts = {"20 % worse": 0, "another, as good": 0, "5 % better": 0}
    power = 0.0
    for number in range(runs):
        found = verdicts(seed + number)
        if told is not None:
            told(found)
        for name, verdict in found.items():
            counts[name] += verdict.passed
        power += found["20 % worse"].power["0.2"] or 0.0
    what = f"{ROWS:,} logged rows, version "
    return [
        share(what + "20 % worse", "blocked", runs - counts["20 % worse"], runs, seed, least=0.9),
        Figure(
            subject=what + "20 % worse",
            measure="power that the gate tells of itself, mean",
            value=power / runs,
            seed=seed,
        ),
        share(what + "another, as good", "passed", counts["another, as good"], runs, seed, least=0.9),
        share(what + "5 % better", "passed", counts["5 % better"], runs, seed, least=0.9),
    ]
