"""Looking early: 100 looks at 10,000 units a side.

The table of procedures: false alarms on normal and on skewed data (5 % payers, lognormal spend), power at the drift
that gives a fixed test 80 %, the mean share of the sample used, and widths over the fixed interval's at the same
sample, which are computed. Then what else stands on the same bounds: the estimate after stopping, looks past the plan,
giving up, several comparisons together, and the sample ratio watched while units come in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.simulations.figure import Figure, share
from stats.arrays import BoolArray, FloatArray
from stats.distributions import normal_quantile
from stats.multiplicity import holm
from stats.sequential import (
    Spending,
    after_stopping,
    bounds,
    futility_bounds,
    mixture_band,
    monitor,
    sequential_p,
)
from stats.sequential_srm import sequential_srm
from stats.srm import srm

ALPHA = 0.05
LOOKS = 100
PER_LOOK = 100
"""Units a side that come in between two looks."""
T = np.arange(1, LOOKS + 1) / LOOKS
FIXED = float(normal_quantile(1 - ALPHA / 2))
DRIFT = FIXED + float(normal_quantile(0.8))
PAYERS = 0.05
SEED = 2024


@dataclass(frozen=True, slots=True)
class Procedure:
    """A rule of stopping: |Z| at or beyond the bound, at those of the 100 looks that have one.

    Attributes:
        goals: measure → (least, most).
    """

    name: str
    bounds: FloatArray
    goals: dict[str, dict[str, float]]


def procedures() -> list[Procedure]:
    """Return the rules of the table."""
    sound = {"false alarms": {"most": ALPHA}, "false alarms, skewed": {"most": ALPHA}}
    planned = {**sound, "power": {"least": 0.775}, "width at the end": {"most": 1.12}}
    always = {**sound, "power": {"least": 0.52}, "width at the end": {"most": 1.55}}
    band = mixture_band(np.zeros(LOOKS), np.ones(LOOKS), ALPHA, n=T * LOOKS, n_star=LOOKS)
    obf, pocock, middle = Spending(), Spending("pocock"), Spending("hwang_shih_decani")
    return [
        Procedure("fixed, one look", _every(LOOKS, lambda t: np.full(t.shape, FIXED)), sound),
        Procedure("fixed, peeked at 100 times", np.full(LOOKS, FIXED), {}),
        Procedure("group sequential, O'Brien–Fleming, 100 looks", bounds(T, ALPHA, obf), planned),
        Procedure("group sequential, O'Brien–Fleming, 20 looks", _every(5, lambda t: bounds(t, ALPHA, obf)), planned),
        Procedure("group sequential, O'Brien–Fleming, 5 looks", _every(20, lambda t: bounds(t, ALPHA, obf)), planned),
        Procedure("group sequential, Pocock, 20 looks", _every(5, lambda t: bounds(t, ALPHA, pocock)), sound),
        Procedure("group sequential, Hwang–Shih–DeCani −4, 100 looks", bounds(T, ALPHA, middle), sound),
        Procedure("always-valid mixture, N* = planned, 100 looks", band.ci_high, always),
    ]


def _every(step: int, rule: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Return bounds at every ``step``-th look only."""
    out = np.full(LOOKS, np.inf)
    out[step - 1 :: step] = rule(T[step - 1 :: step])
    return out


def normal_paths(rng: np.random.Generator, runs: int, drift: float, t: FloatArray = T) -> FloatArray:
    """Return Z at each look of tests on normal data, shape (runs, looks)."""
    step = np.diff(t, prepend=0.0)
    return np.asarray((np.cumsum(rng.standard_normal((runs, t.size)) * np.sqrt(step), axis=1) + drift * t) / np.sqrt(t))


def skewed_paths(rng: np.random.Generator, runs: int) -> FloatArray:
    """Return Welch's statistic at each look of tests without an effect on spend: 5 % payers, lognormal amounts."""
    n = PER_LOOK * np.arange(1, LOOKS + 1)
    mean, square = [], []
    for _ in range(2):
        payers = rng.binomial(PER_LOOK, PAYERS, size=(runs, LOOKS))
        amounts = rng.lognormal(0.0, 1.0, size=int(payers.sum()))
        cell = np.repeat(np.arange(payers.size), payers.ravel())
        sums = [np.bincount(cell, part, minlength=payers.size) for part in (amounts, amounts**2)]
        first, second = (np.cumsum(part.reshape(runs, LOOKS), axis=1) for part in sums)
        mean.append(first / n)
        square.append((second / n - (first / n) ** 2) / (n - 1))
    error = np.sqrt(square[0] + square[1])
    return np.where(error > 0, (mean[1] - mean[0]) / np.where(error > 0, error, 1.0), 0.0)


def _used(hits: BoolArray) -> FloatArray:
    """Return at what share of the sample each run stopped."""
    return np.asarray(np.where(hits.any(axis=1), T[hits.argmax(axis=1)], T[-1]))


def run(runs: int = 20_000, seed: int = SEED) -> list[Figure]:
    """Return all figures of the subject; the skewed data get a third of ``runs``."""
    return [
        *table(runs, seed),
        *stopped(runs // 2, seed + 1),
        *past_the_plan(runs, seed + 2),
        *giving_up(runs, seed + 3),
        *several(runs // 5, seed + 4),
        *split(runs // 5, seed + 5),
    ]


def table(runs: int, seed: int) -> list[Figure]:
    """Return the table of procedures."""
    rng = np.random.default_rng(seed)
    none, effect, double = (np.abs(normal_paths(rng, runs, drift)) for drift in (0.0, DRIFT, 2 * DRIFT))
    skewed = np.abs(skewed_paths(rng, runs // 3))
    figures = []
    for rule in procedures():
        for measure, paths in (("false alarms", none), ("false alarms, skewed", skewed), ("power", effect)):
            hits = int((paths >= rule.bounds).any(axis=1).sum())
            figures.append(share(rule.name, measure, hits, len(paths), seed, **rule.goals.get(measure, {})))
        for measure, paths in (("sample used", effect), ("sample used at twice the effect", double)):
            figures.append(_mean(rule.name, measure, _used(paths >= rule.bounds), seed))
        for measure, at in (("width at 10 %", 0.1), ("width at 50 %", 0.5), ("width at the end", 1.0)):
            width = float(rule.bounds[round(at * LOOKS) - 1] / FIXED)
            if np.isfinite(width):
                most = rule.goals.get(measure, {}).get("most")
                figures.append(Figure(subject=rule.name, measure=measure, value=width, most=most))
    return figures


def _mean(subject: str, measure: str, values: FloatArray, seed: int, expected: float | None = None) -> Figure:
    return Figure(
        subject=subject,
        measure=measure,
        value=float(values.mean()),
        std_error=float(values.std() / np.sqrt(values.size)),
        runs=values.size,
        seed=seed,
        least=expected,
        most=expected,
    )


def stopped(runs: int, seed: int) -> list[Figure]:
    """Return coverage and bias of the estimate after stopping, beside the naive one's; 10 unequal looks."""
    rng = np.random.default_rng(seed)
    t = np.array([0.08, 0.2, 0.3, 0.38, 0.5, 0.6, 0.73, 0.8, 0.92, 1.0])
    limit = bounds(t, ALPHA, Spending("pocock"))
    error = np.broadcast_to(1 / np.sqrt(t), (runs, t.size))
    figures = []
    for name, drift in (("no effect", 0.0), ("effect of 80 % power", DRIFT), ("twice that", 2 * DRIFT)):
        estimate = normal_paths(rng, runs, drift, t) * error
        found = after_stopping(estimate, error, t, limit, ALPHA)
        naive = np.take_along_axis(estimate, found.look[:, None], axis=1)[:, 0]
        width = FIXED / np.sqrt(t[found.look])
        where = f"after stopping, {name}"
        covered = int(((found.ci_low <= drift) & (drift <= found.ci_high)).sum())
        above, naive_above = int((found.estimate > drift).sum()), int((naive > drift).sum())
        figures += [
            share(where, "coverage", covered, runs, seed, least=0.95, most=0.95),
            share(where, "estimates above the truth", above, runs, seed, least=0.5, most=0.5),
            share(where, "coverage, naive", int((np.abs(naive - drift) <= width).sum()), runs, seed),
            share(where, "estimates above the truth, naive", naive_above, runs, seed),
        ]
    return figures


def past_the_plan(runs: int, seed: int) -> list[Figure]:
    """Return false alarms when looking goes on past the plan: with the last bound kept, and with a reserve."""
    rng = np.random.default_rng(seed)
    t = np.concatenate([T, T[-1] + np.arange(1, 101) / 100])
    z = np.abs(normal_paths(rng, runs, 0.0, t))
    figures = []
    kept = np.concatenate([bounds(T, ALPHA), np.full(100, np.inf)])
    kept[[119, 139]] = kept[99]
    overrun = int((z >= kept).any(axis=1).sum())
    figures.append(share("last bound kept at 1.2 and 1.4 of the plan", "false alarms", overrun, runs, seed))
    for reserve in (0.1, 0.3):
        rule = monitor(np.zeros(t.size), np.ones(t.size), t, ALPHA, reserve=reserve).bounds
        hits = z >= rule
        name = f"reserve of {reserve:.0%}, 100 looks and 100 past the plan"
        figures += [
            share(name, "false alarms", int(hits.any(axis=1).sum()), runs, seed, most=ALPHA),
            share(name, "false alarms by the plan", int(hits[:, :100].any(axis=1).sum()), runs, seed, most=ALPHA),
        ]
    return figures


def giving_up(runs: int, seed: int) -> list[Figure]:
    """Return power and sample used when futility is obeyed, held to what is computed."""
    rng = np.random.default_rng(seed)
    t = T[9::10]
    limit = bounds(t, ALPHA)
    plan = futility_bounds(t, limit, 0.8)
    figures = []
    for name, drift, expected in (("no effect", 0.0, plan.expected_none), ("effect", plan.drift, plan.expected)):
        z = normal_paths(rng, runs, drift, t)
        up = z >= limit
        stop = up | (z <= plan.bounds)
        stop[:, -1] = True
        at = stop.argmax(axis=1)
        won = np.take_along_axis(up, at[:, None], axis=1)[:, 0]
        subject = f"futility obeyed, O'Brien–Fleming, 10 looks, {name}"
        measure = "power" if drift else "false alarms upwards"
        goal = {"least": plan.power_obeyed, "most": plan.power_obeyed} if drift else {"most": ALPHA / 2}
        figures += [
            share(subject, measure, int(won.sum()), runs, seed, **goal),
            _mean(subject, "sample used", t[at], seed, expected),
        ]
    return figures


def several(runs: int, seed: int) -> list[Figure]:
    """Return family-wise errors of Holm on sequential p-values: three variants against one control, 10 looks."""
    rng = np.random.default_rng(seed)
    t = T[9::10]
    figures = []
    for name, drifts in (("no effects", (0.0, 0.0, 0.0)), ("one effect of 80 % power", (0.0, 0.0, DRIFT))):
        control = normal_paths(rng, runs, 0.0, t)
        z = np.stack(
            [(normal_paths(rng, runs, 0.0, t) - control) / np.sqrt(2) + d * np.sqrt(t) for d in drifts], axis=1
        )
        p = sequential_p(z, t)
        rejected = np.stack([holm(row) <= ALPHA for row in p])
        wrong = int((rejected & (np.array(drifts) == 0)).any(axis=1).sum())
        where = f"Holm on sequential p, 3 variants, 10 looks, {name}"
        figures.append(share(where, "family-wise errors", wrong, runs, seed, most=ALPHA))
        if any(drifts):
            figures.append(share(where, "power", int(rejected[:, -1].sum()), runs, seed))
    return figures


def split(runs: int, seed: int) -> list[Figure]:
    """Return false alarms and detections of the sample ratio watched at 100 looks, 100,000 units in all."""
    rng = np.random.default_rng(seed)
    figures = []
    for name, weights, true in (
        ("50 : 50", (0.5, 0.5), (0.5, 0.5)),
        ("10 : 30 : 60 and a variant without weight", (0.1, 0.3, 0.6, 0.0), (0.1, 0.3, 0.6, 0.0)),
        ("50 : 50 that is 51 : 49", (0.5, 0.5), (0.51, 0.49)),
    ):
        counts = np.cumsum(rng.multinomial(1000, true, size=(runs, LOOKS)), axis=1)
        ever = sequential_srm(counts, weights).p_value[:, -1]
        broken = weights != true
        for level in (0.05, 0.001):
            goal = {} if broken else {"most": level}
            measure = f"found at p < {level}" if broken else f"false alarms at p < {level}"
            figures.append(share(f"sequential SRM, {name}", measure, int((ever < level).sum()), runs, seed, **goal))
        if not broken:
            peeked = (srm(counts, weights).p_value < 0.05).any(axis=1)
            figures.append(
                share(f"chi-square SRM at each look, {name}", "false alarms at p < 0.05", int(peeked.sum()), runs, seed)
            )
    return figures
