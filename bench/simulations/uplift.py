"""Who should get which offer: effects found, what acting on them loses against knowing them, and false evidence.

Surfaces with known effects (experiments/simulating/surfaces.py). Each run draws members, arms and outcomes, and
recommends. What a cross-fitted policy is truly worth is the mean of its folds' policies over 20,000 members who were
never seen. Outcomes earn 60 and cost what `PRICES` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.simulations.figure import Figure, share
from experiments.simulating.surfaces import Drawn, draw
from stats.uplift.bases import Base
from stats.uplift.choosing import CANDIDATES, choose
from stats.uplift.learners import Learner
from stats.uplift.prices import Prices
from stats.uplift.recommending import Recommended, recommend
from stats.uplift.trial import FloatArray, IntArray

SEED = 2026
LINEAR: tuple[tuple[Learner, Base], ...] = (("x", "linear"), ("dr", "linear"))
SHAPES = ("linear", "steps", "smooth")
VALUE, COUPON, CONTACT = 60.0, 12.0, 0.3
FRESH = 20_000


def prices(offers: int, coupon: float = COUPON, contact: float = CONTACT) -> Prices:
    """Return what a coupon of some face value costs that every buyer redeems, and a message."""
    given = np.r_[0.0, np.ones(offers)]
    return Prices(VALUE, coupon * given, given, contact * given)


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated recommendation.

    Attributes:
        evidence: whether it claims that choosing by unit pays.
        covered: whether the interval of the recommended policy's value holds the truth.
        value_z: error of the personalised policy's value over its standard error.
        gain_z: error of its gain over the best single arm, over its standard error; 0 where there is no difference.
        regret: what the recommended policy earns less than the oracle, as a share of what the oracle earns.
    """

    evidence: bool
    covered: bool
    value_z: float
    gain_z: float
    regret: float


def simulate(
    shape: str,
    rows: int,
    runs: int,
    seed: int,
    *,
    offers: int = 1,
    priced: Prices | None = None,
    candidates: Sequence[tuple[Learner, Base]] = LINEAR,
) -> list[Run]:
    """Return so many simulated recommendations."""
    told = priced or prices(offers)
    fresh = draw(shape, FRESH, offers=offers, seed=seed - 1)
    return [
        _run(draw(shape, rows, offers=offers, seed=seed + number), fresh, told, candidates, number)
        for number in range(runs)
    ]


def _run(drawn: Drawn, fresh: Drawn, told: Prices, candidates: Sequence[tuple[Learner, Base]], seed: int) -> Run:
    found = recommend(drawn.trial, told, candidates=candidates, seed=seed)
    net = told.net(fresh.expected)
    gains = net - net[:, :1]
    personalised, single = _truths(found, fresh.trial.features, gains, told)
    oracle = float(gains.max(axis=1).mean())
    result = found.policies["personalised"]
    recommended = found.policies[found.recommended].value
    truth = personalised if found.recommended == "personalised" else single
    value_error, gain_error = result.value.std_error, result.gain.std_error
    return Run(
        found.evidence,
        recommended.ci_low <= truth <= recommended.ci_high,
        (result.value.estimate - personalised) / value_error if value_error > 0 else 0.0,
        (result.gain.estimate - (personalised - single)) / gain_error if gain_error > 0 else 0.0,
        (oracle - truth) / oracle if oracle > 0 else 0.0,
    )


def _truths(found: Recommended, features: FloatArray, gains: FloatArray, told: Prices) -> tuple[float, float]:
    """Return what the personalised and the best single policy of the folds are truly worth, weighted by their units."""
    rows = np.arange(len(features))
    personalised = single = 0.0
    fold = found.choice.fold
    for held, model in enumerate(found.choice.fitted.models):
        own = fold == held
        choice: IntArray = told.net(model.outcomes(features)).argmax(axis=1)
        weight = float(own.mean())
        personalised += weight * float(gains[rows, choice].mean())
        single += weight * float(gains[:, found.policies["best_single"].choice[own][0]].mean())
    return personalised, single


def accuracy(shape: str, rows: int, seed: int) -> list[Figure]:
    """Return how near the chosen learner's cross-fitted effects are to the truth."""
    drawn = draw(shape, rows, seed=seed)
    found = choose(drawn.trial, CANDIDATES, seed=seed)
    effects, truth = found.fitted.effects[:, 0], drawn.effects[:, 0]
    subject = f"{shape} surface, {rows:,} rows, chosen: {found.chosen.code}"
    rmse = float(np.sqrt(np.mean((effects - truth) ** 2)))
    return [
        Figure(
            subject=subject,
            measure="correlation with the true effect",
            value=float(np.corrcoef(effects, truth)[0, 1]),
            least=0.74,
            seed=seed,
        ),
        Figure(
            subject=subject, measure="root mean squared error, in sd of the effect", value=rmse / truth.std(), seed=seed
        ),
    ]


def spread(subject: str, measure: str, values: FloatArray, seed: int) -> Figure:
    """Return the standard deviation of standardised errors, 1 where standard errors are right."""
    runs = len(values)
    return Figure(
        subject=subject,
        measure=measure,
        value=float(values.std()),
        std_error=float(values.std() / np.sqrt(2 * runs)),
        runs=runs,
        seed=seed,
        most=1.1,
    )


def shape_figures(shape: str, runs: int, seed: int, *, rows: int = 8000, offers: int = 1) -> list[Figure]:
    """Return regret and coverage on one shape with differences."""
    found = simulate(shape, rows, runs, seed, offers=offers)
    subject = f"{shape} surface, {offers} offer{'s' * (offers > 1)}, {rows:,} rows, linear candidates"
    regret = np.array([one.regret for one in found])
    return [
        share(
            subject,
            "coverage of the recommended value",
            sum(one.covered for one in found),
            runs,
            seed,
            least=0.93,
            most=0.97,
        ),
        Figure(
            subject=subject,
            measure="regret, share of the oracle's profit",
            value=float(regret.mean()),
            std_error=float(regret.std() / np.sqrt(runs)),
            runs=runs,
            seed=seed,
        ),
        spread(subject, "sd of the value's error in standard errors", np.array([one.value_z for one in found]), seed),
        share(subject, "evidence that choosing by unit pays", sum(one.evidence for one in found), runs, seed),
    ]


def null_figures(runs: int, seed: int, *, rows: int = 4000, offers: int = 1, contact: float = 1.2) -> list[Figure]:
    """Return how often there is evidence where there is nothing to find; a message of 1.2 costs what offers bring."""
    found = simulate(
        "null", rows, runs, seed, offers=offers, priced=prices(offers, 0.0, contact), candidates=LINEAR[:1]
    )
    level = "break-even for all" if contact == 1.2 else f"a message costs {contact:g}"
    subject = f"null surface, {offers} offer{'s' * (offers > 1)}, {level}, {rows:,} rows"
    false = sum(one.evidence for one in found)
    return [share(subject, "no evidence", runs - false, runs, seed, least=0.95)]


def run(runs: int = 200, seed: int = SEED) -> list[Figure]:
    """Return all figures."""
    out: list[Figure] = []
    for shape in SHAPES:
        out += accuracy(shape, 60_000, seed)
    for shape in SHAPES:
        out += shape_figures(shape, runs, seed)
    out += shape_figures("smooth", runs, seed, offers=2)
    out += null_figures(runs, seed)
    out += null_figures(runs, seed, contact=0.1)
    return out + null_figures(runs, seed, offers=2)
