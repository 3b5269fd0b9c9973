"""After adaptive collection: what a policy that learns says about each variant.

Ten batches of decisions; after each the probabilities are made anew from all rewards so far (Thompson sampling by 100
draws, or inverse-gap weighting, and an exploration floor), and the next batch is drawn from exactly those. Then every
variant's mean is estimated once. Coverage is over all variants and runs, its error by run; bias is in standard
deviations of a single reward times 1,000, so that rewards of all kinds compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.simulations.figure import Figure
from stats.arrays import FloatArray, IntArray
from stats.ope import arm_means, widened
from stats.ope.intervals import wald

BATCHES = 10
DRAWS = 100
SEED = 2025


@dataclass(frozen=True, slots=True)
class Collection:
    """A way in which decisions come about.

    Attributes:
        rates: share of conversions, one a variant.
        amount: standard deviation of the log of what a conversion pays; 0: each pays 1.
        batch: decisions of a batch.
        explore: mass that is spread over all variants.
        rule: how probabilities are made from counts and sums of rewards.
        other: rates of the other half of the members, for whom the policy learns separately.
        goal: least and greatest coverage of the uniform estimate.
    """

    name: str
    rates: tuple[float, ...]
    amount: float
    batch: int
    explore: float
    rule: str
    goal: tuple[float, float] | None = (0.94, 0.96)
    other: tuple[float, ...] | None = None

    @property
    def stages(self) -> FloatArray:
        """Rates of each kind of members, shape (stages, K)."""
        return np.array([self.rates] if self.other is None else [self.rates, self.other])


COLLECTIONS = (
    Collection("Thompson, 3 equal variants of 30 %, floor .05", (0.3, 0.3, 0.3), 0.0, 200, 0.15, "thompson"),
    Collection("Thompson, 3 equal variants of 30 %, explore .02", (0.3, 0.3, 0.3), 0.0, 1000, 0.02, "thompson"),
    Collection("Thompson, 5, 6 and 8 %, explore .05", (0.05, 0.06, 0.08), 0.0, 2000, 0.05, "thompson"),
    Collection(
        "inverse gap, 5 variants of 2 to 4 %, explore .02", (0.02, 0.025, 0.03, 0.035, 0.04), 0.0, 5000, 0.02, "igw"
    ),
    Collection(
        "inverse gap by stage, 5 to 15 %, explore .05",
        (0.05, 0.10, 0.15),
        0.0,
        4000,
        0.05,
        "igw",
        other=(0.15, 0.10, 0.05),
    ),
    Collection(
        "inverse gap, 10, 12 and 14 % with skewed amounts, explore .05", (0.1, 0.12, 0.14), 0.7, 2000, 0.05, "igw"
    ),
)


def probabilities(rule: str, counts: FloatArray, sums: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return what a rule makes of the rewards so far, shape (runs, K)."""
    runs, k = counts.shape
    if not counts.any():
        return np.full((runs, k), 1 / k)
    if rule == "thompson":
        draws = rng.beta(1 + sums, 1 + counts - sums, size=(DRAWS, runs, k))
        best = draws.argmax(axis=2)
        return np.asarray(np.stack([(best == arm).mean(axis=0) for arm in range(k)], axis=1))
    means = (sums + sums.sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)) / (counts + 1)
    scale = np.sqrt(means.mean(axis=1, keepdims=True))
    gap = (means.max(axis=1, keepdims=True) - means) / scale
    share = 1 / (k + 16 * np.sqrt(counts.sum(axis=1, keepdims=True) * k) * gap)
    best = means.argmax(axis=1)
    rows = np.arange(runs)
    share[rows, best] = 0.0
    share[rows, best] = 1 - share.sum(axis=1)
    return np.asarray(share)


@dataclass(frozen=True, slots=True)
class Collected:
    """Logged decisions of many runs: shapes (runs, n), and (runs, n, K)."""

    variant: IntArray
    reward: FloatArray
    chance: FloatArray


def collect(how: Collection, runs: int, rng: np.random.Generator) -> Collected:
    """Draw the decisions; members of a stage are as likely as those of another."""
    rates = how.stages
    stages, k = rates.shape
    counts, sums = np.zeros((stages, runs, k)), np.zeros((stages, runs, k))
    parts = []
    for _ in range(BATCHES):
        p = np.stack([probabilities(how.rule, counts[stage], sums[stage], rng) for stage in range(stages)])
        p = how.explore / k + (1 - how.explore) * p
        who = rng.integers(stages, size=(runs, how.batch))
        chance = p[who, np.arange(runs)[:, None]]
        drawn = (rng.random((runs, how.batch, 1)) > np.cumsum(chance, axis=2)[:, :, :-1]).sum(axis=2)
        reward = (rng.random((runs, how.batch)) < rates[who, drawn]).astype(np.float64)
        if how.amount:
            reward *= rng.lognormal(-(how.amount**2) / 2, how.amount, size=reward.shape)
        for stage in range(stages):
            for arm in range(k):
                mine = (drawn == arm) & (who == stage)
                counts[stage, :, arm] += mine.sum(axis=1)
                sums[stage, :, arm] += np.where(mine, reward, 0.0).sum(axis=1)
        parts.append((drawn, reward, chance))
    return Collected(*(np.concatenate([part[i] for part in parts], axis=1) for i in range(3)))


def run(runs: int = 1500, seed: int = SEED) -> list[Figure]:
    """Return coverage, bias and width of the estimates, for every collection."""
    figures = []
    for place, how in enumerate(COLLECTIONS):
        figures += compare(how, runs, seed + place)
    return figures


def compare(how: Collection, runs: int, seed: int) -> list[Figure]:
    """Return one collection's figures: uniform AIPW, weighted AIPW, always-valid, and the naive mean beside."""
    rng = np.random.default_rng(seed)
    k = len(how.rates)
    batch = np.repeat(np.arange(BATCHES), how.batch)
    found: dict[str, list[FloatArray]] = {}
    at_once = max(1, 2_000_000 // (BATCHES * how.batch * k))
    for start in range(0, runs, at_once):
        data = collect(how, min(at_once, runs - start), rng)
        for one in range(data.variant.shape[0]):
            rows = data.variant[one], data.reward[one], data.chance[one]
            uniform = arm_means(*rows, batch=batch)
            told = {
                "uniform AIPW": uniform,
                "weighted AIPW": arm_means(*rows, batch=batch, method="weighted"),
                "always-valid AIPW": tuple(widened(each, n_star=BATCHES * how.batch) for each in uniform),
                "naive mean": tuple(wald(data.reward[one][data.variant[one] == arm]) for arm in range(k)),
            }
            for name, numbers in told.items():
                table = np.array([(each.value, each.ci_low, each.ci_high) for each in numbers], dtype=np.float64)
                found.setdefault(name, []).append(table)
    truth = how.stages.mean(axis=0)
    spread = np.sqrt(truth * (np.exp(how.amount**2) - truth))
    figures = []
    for name, parts in found.items():
        table = np.stack(parts)
        goal = how.goal if name == "uniform AIPW" else (0.95, 1.0) if name == "always-valid AIPW" else None
        figures.append(_mean(how.name, f"coverage, {name}", _covered(table, truth), seed, goal))
        if name != "always-valid AIPW":  # which has the uniform one's values
            bias = ((table[:, :, 0] - truth) / spread).mean(axis=1)
            figures.append(_mean(how.name, f"bias × 1,000, {name}", 1000 * bias, seed))
        width = ((table[:, :, 2] - table[:, :, 1]) / spread).mean(axis=1)
        figures.append(_mean(how.name, f"width × 1,000, {name}", 1000 * width, seed))
    return figures


def _covered(table: FloatArray, truth: FloatArray) -> FloatArray:
    held = (table[:, :, 1] <= truth) & (truth <= table[:, :, 2])
    return np.asarray(held.mean(axis=1))


def _mean(subject: str, measure: str, values: FloatArray, seed: int, goal: tuple[float, float] | None = None) -> Figure:
    told = values[np.isfinite(values)]
    return Figure(
        subject=subject,
        measure=measure,
        value=float(told.mean()),
        std_error=float(told.std(ddof=1) / np.sqrt(told.size)),
        runs=told.size,
        seed=seed,
        least=None if goal is None else goal[0],
        most=None if goal is None else goal[1],
    )
