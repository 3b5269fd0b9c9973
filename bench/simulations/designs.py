"""Adjusted, clustered and other designs.

Coverage is of 95 % intervals, false alarms at .05; what is shown without a goal is there for comparison.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.simulations.figure import Figure, share
from stats.adjustment import cuped_means, cuped_ratios
from stats.arrays import BoolArray, FloatArray
from stats.clusters import ClusterSums, difference, sample_of
from stats.compliance import effect_on_reached
from stats.effects import difference_of_means, non_inferiority, non_inferiority_of_proportions, proportions, relative
from stats.effects.result import Effect
from stats.factorial import Design, effects
from stats.history import with_indicators
from stats.moments import Moments
from stats.regression import interacted_means
from stats.samples import Sample, means
from stats.strata import post_stratified
from stats.switchback import randomisation_test

NEAR = {"least": 0.94, "most": 0.96}


def run(runs: int = 10_000, seed: int = 20_261) -> list[Figure]:
    """Return all figures; every part has a generator of its own from the one seed.

    Args:
        runs: simulated experiments of each kind done in arrays; fewer where they are done one by one.
        seed: of all generators.
    """
    parts = (_cuped, _interacted, _strata, _fieller, _guardrails, _reached, _clusters, _switchback, _factorial)
    figures: list[Figure] = []
    for place, part in enumerate(parts):
        figures += part(runs, seed, np.random.default_rng([seed, place]))
    return figures


def _moments(columns: list[str], *arms: FloatArray) -> Moments:
    """Return moments of shape (runs, variants) of rows (runs, units, columns) for each variant."""
    mean = np.stack([rows.mean(axis=1) for rows in arms], axis=1)
    centred = [rows - rows.mean(axis=1, keepdims=True) for rows in arms]
    m2 = np.stack([np.einsum("rni,rnj->rij", rows, rows) for rows in centred], axis=1)
    n = np.broadcast_to([rows.shape[1] for rows in arms], mean.shape[:2])
    return Moments(tuple(columns), np.array(n), np.zeros(len(columns)), mean, m2)


def _covered(effect: Effect, truth: npt.ArrayLike) -> int:
    hit: BoolArray = (effect.ci_low <= truth) & (effect.ci_high >= truth)
    return int(hit.sum())


def _pair(sample: Sample) -> Effect:
    return difference_of_means(sample[:, 0], sample[:, 1])


def _chunks(runs: int, step: int = 500) -> Iterator[int]:
    for begin in range(0, runs, step):
        yield min(step, runs - begin)


def _cuped(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """Skewed spend, history that a third of the members lack; and very small samples."""
    hits = dict.fromkeys(["one", "indicator", "ratio", "small", "plain"], 0)
    for size in _chunks(runs):
        taste = rng.gamma(2.0, 1.0, (size, 400))
        before = taste * rng.gamma(5.0, 0.2, taste.shape)
        after = taste * rng.gamma(5.0, 0.2, taste.shape)
        after[:, 200:] += 0.3
        rows = np.stack([after, before], axis=-1)
        hits["one"] += _covered(
            _pair(cuped_means(_moments(["y", "x"], rows[:, :200], rows[:, 200:]), "y", ["x"], variants_axis=1).sample),
            0.3,
        )
        known = np.where(rng.random(taste.shape) < 1 / 3, np.nan, before)
        filled = with_indicators(["x"], known.reshape(-1)).values.reshape(*taste.shape, 2)
        rows = np.concatenate([after[..., None], filled], axis=-1)
        moments = _moments(["y", "x", "x missing"], rows[:, :200], rows[:, 200:])
        hits["indicator"] += _covered(_pair(cuped_means(moments, "y", ["x", "x missing"], variants_axis=1).sample), 0.3)

        visits, visits_before = (rng.poisson(4.0, taste.shape) + 1.0 for _ in range(2))
        rate = taste / (taste + 4)
        orders, orders_before = (rng.binomial(v.astype(int), rate) * 1.0 for v in (visits, visits_before))
        rows = np.stack([orders, visits, orders_before, visits_before], axis=-1)
        moments = _moments(["o", "v", "ob", "vb"], rows[:, :200], rows[:, 200:])
        hits["ratio"] += _covered(_pair(cuped_ratios(moments, "o", "v", [("ob", "vb")], variants_axis=1).sample), 0.0)

        x = rng.normal(0, 1, (size, 20, 2))
        y = x.sum(axis=-1) + rng.normal(0, 1, (size, 20))
        rows = np.concatenate([y[..., None], x], axis=-1)
        moments = _moments(["y", "a", "b"], rows[:, :10], rows[:, 10:])
        for name, small in (("small", True), ("plain", False)):
            adjusted = cuped_means(moments, "y", ["a", "b"], variants_axis=1, small_sample=small)
            hits[name] += _covered(_pair(adjusted.sample), 0.0)
    return [
        share("CUPED, skewed spend, 200 a side", "coverage", hits["one"], runs, seed, **NEAR),
        share("CUPED, a third without history (indicator)", "coverage", hits["indicator"], runs, seed, **NEAR),
        share("CUPED of a ratio, 200 a side", "coverage", hits["ratio"], runs, seed, **NEAR),
        share("CUPED, 2 covariates, 10 a side, `small_sample`", "coverage", hits["small"], runs, seed, **NEAR),
        share("CUPED, 2 covariates, 10 a side, plain", "coverage", hits["plain"], runs, seed),
    ]


def _interacted(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """Slopes 1 and 3, a quarter in the variant: the effect in the population is 0.5, in the units at hand it varies."""
    hits = dict.fromkeys(["lin", "fixed", "cuped"], 0)
    for size in _chunks(runs):
        x = rng.gamma(2.0, 1.0, (size, 400))
        noise = rng.normal(0, 1, x.shape)
        control, variant = x[:, :300] + noise[:, :300], 3 * x[:, 300:] - 3.5 + noise[:, 300:]
        rows = [np.stack([y, part], axis=-1) for y, part in ((control, x[:, :300]), (variant, x[:, 300:]))]
        moments = _moments(["y", "x"], *rows)
        hits["lin"] += _covered(_pair(interacted_means(moments, "y", ["x"], variants_axis=1).sample), 0.5)
        fixed = interacted_means(moments, "y", ["x"], variants_axis=1, population=False)
        hits["fixed"] += _covered(_pair(fixed.sample), 0.5)
        hits["cuped"] += _covered(_pair(cuped_means(moments, "y", ["x"], variants_axis=1).sample), 0.5)
    return [
        share("Interacted regression, slopes 1 and 3, 300/100", "coverage", hits["lin"], runs, seed, **NEAR),
        share("the same, units at hand taken for the population", "coverage", hits["fixed"], runs, seed),
        share("the same data by CUPED", "coverage", hits["cuped"], runs, seed),
    ]


def _strata(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """Three strata of other means and other effects, 150 a side, strata by chance."""
    hits, shares, effect = 0, np.array([0.6, 0.3, 0.1]), np.array([0.0, 1.0, 2.0])
    for size in _chunks(runs):
        stratum = rng.choice(3, (size, 300), p=shares)
        y = 3.0 * stratum + rng.gamma(1.0, 1.0, stratum.shape)
        y[:, 150:] += effect[stratum[:, 150:]]
        cells = []
        for arm in (slice(None, 150), slice(150, None)):
            for s in range(3):
                own = stratum[:, arm] == s
                n = own.sum(axis=1)
                mean = np.where(own, y[:, arm], 0.0).sum(axis=1) / np.maximum(n, 1)
                m2 = np.where(own, np.square(y[:, arm] - mean[:, None]), 0.0).sum(axis=1)
                cells.append((n, mean, m2))
        n, mean, m2 = (np.stack(part, axis=-1).reshape(size, 2, 3) for part in zip(*cells, strict=True))
        moments = Moments(("y",), n.astype(np.int64), np.zeros(1), mean[..., None], m2[..., None, None])
        hits += _covered(_pair(post_stratified(moments, "y", strata_axis=2, variants_axis=1)), float(shares @ effect))
    return [share("Post-stratified, 3 strata of other effects, 150 a side", "coverage", hits, runs, seed, **NEAR)]


def _fieller(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """A control mean only 3 standard errors from zero; the truth is +20 %."""
    base = 3.0 / np.sqrt(400)
    control = rng.normal(base, 1 / np.sqrt(400), runs)
    variant = rng.normal(1.2 * base, 1 / np.sqrt(400), runs)
    spreads = [rng.chisquare(399, runs) / 399 for _ in range(2)]
    first, second = (Sample.of(400, m, v) for m, v in zip((control, variant), spreads, strict=True))
    lift = relative(first, second)
    told = lift.why == 0
    # Where the set is not bounded nothing is said; whether it holds the truth is the test of variant − 1.2 · control.
    contrast = np.abs(second.mean - 1.2 * first.mean) / np.sqrt(spreads[1] / 400 + 1.44 * spreads[0] / 400)
    held = int((contrast <= 1.9634).sum())
    half = 1.9634 * lift.std_error[told]
    delta = int((np.abs(lift.estimate[told] - 0.2) <= half).sum())
    count = int(told.sum())
    return [
        share("Fieller, baseline 3 s.e. from zero, all sets", "coverage", held, runs, seed, **NEAR),
        share(
            "the same, where it is bounded and so shown", "coverage", _covered(lift[told], 0.2), count, seed, least=0.94
        ),
        share("the same", "share shown", count, runs, seed),
        share("delta interval there", "coverage", delta, count, seed),
    ]


def _guardrails(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """The truth lies exactly at the limit, so every proof is false: at most alpha/2."""
    found: dict[str, int] = dict.fromkeys(["absolute", "relative", "rare"], 0)
    for size in _chunks(runs):
        control = rng.gamma(1.0, 2.0, (size, 800))
        variant = rng.gamma(1.0, 2.0, (size, 500)) - 0.2
        sample = means(_moments(["y"], control[..., None], variant[..., None]), "y")
        found["absolute"] += int((non_inferiority(sample[:, 0], sample[:, 1], 0.2).p_value <= 0.025).sum())
        sample = means(_moments(["y"], control[..., None], 0.9 * (variant + 0.2)[..., None]), "y")
        guardrail = non_inferiority(sample[:, 0], sample[:, 1], 0.1, relative=True)
        found["relative"] += int((guardrail.p_value <= 0.025).sum())
    arms = [proportions(rng.binomial(8000, rate, runs), 8000) for rate in (0.008, 0.0104)]
    rare = non_inferiority_of_proportions(arms[0], arms[1], 0.3, direction="decrease", relative=True)
    found["rare"] = int((rare.p_value <= 0.025).sum())
    return [
        share("Non-inferiority, absolute, skewed 800/500", "false proofs", found["absolute"], runs, seed, most=0.025),
        share("Non-inferiority, relative, skewed 800/500", "false proofs", found["relative"], runs, seed, most=0.025),
        share("Non-inferiority, relative, .8 % outcome, 8,000", "false proofs", found["rare"], runs, seed, most=0.025),
    ]


def _reached(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """40 % of the sends arrive, and more at those who spend more; the effect on those reached is 2."""
    hits = dict.fromkeys(["delta", "anderson_rubin"], 0)
    naive = 0
    for size in _chunks(runs):
        eager = rng.normal(0, 1, (size, 600))
        got = eager > 0.2533
        got[:, :300] = False
        y = 5 + eager + 2.0 * got + rng.gamma(1.0, 1.0, eager.shape)
        rows = np.stack([y, got], axis=-1)
        moments = _moments(["y", "got"], rows[:, :300], rows[:, 300:])
        hits["delta"] += _covered(effect_on_reached(moments, "y", "got", variants_axis=1)[:, 0], 2.0)
        robust = effect_on_reached(moments, "y", "got", variants_axis=1, interval="anderson_rubin")
        hits["anderson_rubin"] += _covered(robust[:, 0], 2.0)
        n = got.sum(axis=1)
        mean = np.where(got, y, 0).sum(axis=1) / n
        spread = np.where(got, np.square(y - mean[:, None]), 0).sum(axis=1) / (n - 1)
        control = Sample.of(300, y[:, :300].mean(axis=1), y[:, :300].var(axis=1, ddof=1))
        naive += _covered(difference_of_means(control, Sample.of(n, mean, spread)), 2.0)
    return [
        share("Effect on those reached, delta interval", "coverage", hits["delta"], runs, seed, **NEAR),
        share("the same, Anderson–Rubin", "coverage", hits["anderson_rubin"], runs, seed, **NEAR),
        share("the reached against control", "coverage", naive, runs, seed),
    ]


def _clusters(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """Whole clusters in one variant, intra-cluster correlation .1, skewed outcomes; no effect."""
    settings = (
        ("40 equal clusters of 25", np.full(40, 25), 0.93),
        ("40 clusters of 2 to 200", np.round(np.geomspace(2, 200, 40)).astype(int), 0.93),
        ("10 clusters of 5 to 50", np.round(np.geomspace(5, 50, 10)).astype(int), 0.93),
    )
    figures, count = [], max(1, runs // 5)
    for name, sizes, least in settings:
        hits = dict.fromkeys(["CR2", "CR1", "covariate", "ratio", "ignored"], 0)
        for _ in range(count):
            arm = rng.permutation(np.arange(len(sizes)) % 2)
            own, before = rng.gamma(2.0, 0.25, (2, len(sizes)))
            mean = own + before
            total = rng.gamma(sizes * 2.0, 1.0) + sizes * mean
            visits = rng.poisson(3.0 * sizes) + sizes * 1.0
            orders = rng.binomial(visits.astype(int), np.clip(mean / 8, 0, 1)) * 1.0
            sums = ClusterSums.of(
                ["y", "x", "o", "v"], arm, sizes, np.column_stack([total, sizes * before, orders, visits])
            )
            plain, adjusted, ratio = (sample_of(sums, t, c) for t, c in (("y", ()), ("y", ["x"]), (("o", "v"), ())))
            hits["CR2"] += _covered(difference(plain[0], plain[1]), 0.0)
            hits["CR1"] += _covered(difference(plain[0], plain[1], correction="CR1"), 0.0)
            hits["covariate"] += _covered(difference(adjusted[0], adjusted[1]), 0.0)
            hits["ratio"] += _covered(difference(ratio[0], ratio[1]), 0.0)
            alone = Sample.of(plain.units, plain.sample.mean, 2.0 + 0.25)
            hits["ignored"] += _covered(difference_of_means(alone[0], alone[1]), 0.0)
        for told, key in (
            ("CR2, Satterthwaite", "CR2"),
            ("CR2 with a covariate", "covariate"),
            ("CR2 of a ratio", "ratio"),
        ):
            figures.append(share(f"{name}, {told}", "coverage", hits[key], count, seed, least=least))
        figures.append(share(f"{name}, CR1 with t(clusters − 1)", "coverage", hits["CR1"], count, seed))
        figures.append(share(f"{name}, clusters ignored", "coverage", hits["ignored"], count, seed))
    return figures


def _switchback(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """Six places, 20 days each, days correlated .7 with the day before; no effect."""
    count, alarms, welch, power = max(1, runs // 20), 0, 0, 0
    places = np.repeat(np.arange(6), 20)
    for _ in range(count):
        noise = rng.normal(0, 1, (6, 20))
        for day in range(1, 20):
            noise[:, day] = 0.7 * noise[:, day - 1] + np.sqrt(1 - 0.49) * noise[:, day]
        y = (noise + 3 * rng.normal(0, 1, (6, 1))).reshape(-1)
        # Blocks of four days are assigned together, so that periods resemble each other within an assignment too.
        z = np.repeat(rng.integers(0, 2, (6, 5)), 4, axis=1).reshape(-1)
        periods = y.reshape(30, 4).mean(axis=1)
        assigned, place = z.reshape(30, 4)[:, 0], places.reshape(30, 4)[:, 0]
        test = randomisation_test(periods, assigned, place, draws=999, seed=int(rng.integers(2**31)))
        alarms += test.p_value <= 0.05
        power += randomisation_test(periods + assigned, assigned, place, draws=999, seed=1).p_value <= 0.05
        if 1 < z.sum() < len(z) - 1:
            centred = y - y.reshape(6, 20).mean(axis=1)[places]
            sides = [Sample.of((z == k).sum(), centred[z == k].mean(), centred[z == k].var(ddof=1)) for k in (0, 1)]
            welch += float(difference_of_means(sides[0], sides[1]).p_value) <= 0.05
    return [
        share("Switchback, 6 places × 5 periods, randomisation test", "false alarms", alarms, count, seed, most=0.05),
        share("the same, an effect of 1 s.d. of a day", "power", power, count, seed),
        share("the same days as independent units", "false alarms", welch, count, seed),
    ]


def _factorial(runs: int, seed: int, rng: np.random.Generator) -> list[Figure]:
    """2³ with unequal cells of 12 to 60 and unequal variances: coverage of each of seven effects."""
    levels = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    design = Design.of({name: levels[:, place].tolist() for place, name in enumerate("abc")})
    n = np.array([60, 12, 30, 40, 20, 25, 15, 50])
    truth = levels @ [1.0, 0.5, -0.5] + 0.8 * levels[:, 0] * levels[:, 1]
    spread = 1.0 + levels[:, 0]
    mean = truth[:, None] + rng.normal(0, 1, (8, runs)) * (spread / np.sqrt(n))[:, None]
    variance = np.square(spread)[:, None] * rng.chisquare((n - 1)[:, None], (8, runs)) / (n - 1)[:, None]
    exact = effects(Sample.of(n, truth, 1.0), design).effect.estimate
    found = effects(Sample.of(n[:, None], mean, variance), design)
    hits = _covered(found.effect, exact[:, None])
    told = hits / (7 * runs)  # the seven of one run depend on each other: the error counts runs only
    error = (told * (1 - told) / runs) ** 0.5
    name = "2³ factorial, unequal cells, HC2, all seven effects"
    return [Figure(subject=name, measure="coverage", value=told, std_error=error, runs=runs, seed=seed, **NEAR)]
