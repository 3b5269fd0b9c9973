"""Factorial designs: statsmodels' OLS on rows with HC2 and HC3 errors, textbook aliases, edge cases."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.adjustment import cuped_means
from stats.effects import difference_of_means
from stats.factorial import Design, effects
from stats.moments import Moments
from stats.samples import Sample, means


def full(k: int) -> Design:
    table = np.array(list(product((0, 1), repeat=k)))
    return Design.of({name: table[:, place].tolist() for place, name in enumerate("abcdef"[:k])})


def simulate(design: Design, seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Unequal cells, unequal variances, an interaction of the first two factors."""
    rng = np.random.default_rng(seed)
    size = len(design.levels)
    arm = np.concatenate([np.repeat(np.arange(size), 3), rng.choice(size, n, p=rng.dirichlet(np.full(size, 8.0)))])
    high = design.levels[arm]
    y = high @ np.arange(1, high.shape[1] + 1) + 1.5 * high[:, 0] * high[:, -1] + rng.gamma(2, 1 + high[:, 0], len(arm))
    return arm, y


@pytest.mark.parametrize("errors", ["HC2", "HC3"])
@pytest.mark.parametrize(("factors", "order"), [(2, None), (3, None), (3, 2), (3, 1), (4, 2)])
def test_statsmodels_agrees_on_rows(factors: int, order: int | None, errors: str) -> None:
    design = full(factors)
    arm, y = simulate(design, factors)
    names = [term for term in design.terms(order) if term]
    columns = np.column_stack([design.column(term) for term in names])[arm]
    theirs = sm.OLS(y, sm.add_constant(columns)).fit(cov_type=errors)
    sample = means(Moments.from_rows(["y"], y[:, None], cell=arm), "y")
    ours = effects(sample, design, order=order, errors=errors)  # type: ignore[arg-type]
    scale = np.array([2.0 ** len(term) for term in names])
    assert ours.terms == tuple(names)
    assert ours.effect.estimate == pytest.approx(theirs.params[1:] * scale, rel=1e-9)
    assert ours.effect.std_error == pytest.approx(theirs.bse[1:] * scale, rel=1e-9)
    assert not any(ours.aliases)


def test_what_effects_mean_is_what_means_show() -> None:
    """2 × 2 by hand: averages over the other factor, and the difference of differences; df as Welch's of the cells."""
    sample = Sample.of([40, 50, 60, 70], [1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    found = effects(sample, Design.of({"a": [0, 1, 0, 1], "b": [0, 0, 1, 1]}))
    assert found.effect.estimate == pytest.approx([(1 + 4) / 2, (3 + 6) / 2, 4 - 1])
    v = np.array([1 / 40, 2 / 50, 3 / 60, 4 / 70])
    assert found.effect.std_error == pytest.approx(np.sqrt([v.sum() / 4, v.sum() / 4, v.sum()]))
    assert found.effect.df == pytest.approx(v.sum() ** 2 / (v**2 / np.array([39, 49, 59, 69])).sum())


def test_one_factor_is_welchs_test() -> None:
    sample = Sample.of([40, 70], [1.0, 2.0], [1.0, 4.0])
    found = effects(sample, Design.of({"a": [0, 1]})).effect[0].value()
    assert found == difference_of_means(sample[0], sample[1]).value() or found.p_value == pytest.approx(
        difference_of_means(sample[0], sample[1]).value().p_value, rel=1e-9
    )


def test_the_half_fraction_of_three_factors() -> None:
    """Box, Hunter and Hunter: with C = AB each main effect is mixed with the interaction of the other two."""
    design = Design.of({"a": [0, 1, 0, 1], "b": [0, 0, 1, 1], "c": [1, 0, 0, 1]})
    truth = {("a",): 1.0, ("b",): 2.0, ("c",): 3.0, ("b", "c"): 0.8}
    mean = sum(design.column(term) * size / 2 ** len(term) for term, size in truth.items())
    found = effects(Sample.of(50, 5 + mean, 1.0), design)
    assert found.terms == (("a",), ("b",), ("c",))
    assert [[alias.term for alias in of] for of in found.aliases] == [[("b", "c")], [("a", "c")], [("a", "b")]]
    share = found.aliases[0][0].share
    assert found.effect.estimate == pytest.approx([1.0 + share * 0.8, 2.0, 3.0])
    assert share == 0.5


def test_the_quarter_fraction_of_five_factors() -> None:
    """2^(5−2) with D = AB, E = AC: resolution III, as in the tables: A with BD and CE, D with AB, BC with DE …"""
    base = np.array(list(product((0, 1), repeat=3)))
    signs = 2 * base - 1
    d, e = (signs[:, 0] * signs[:, 1] + 1) // 2, (signs[:, 0] * signs[:, 2] + 1) // 2
    design = Design.of(dict(zip("abcde", [*base.T.tolist(), d.tolist(), e.tolist()], strict=True)))
    found = effects(Sample.of(30, np.arange(8.0), 1.0), design)
    mixed = {term: {alias.term for alias in of} for term, of in zip(found.terms, found.aliases, strict=True)}
    assert {("b", "d"), ("c", "e")} <= mixed[("a",)]
    assert ("a", "b") in mixed[("d",)]
    assert ("d", "e") in mixed[("b", "c")]
    assert len(found.terms) == 7


def test_a_missing_combination_mixes_in_parts() -> None:
    """Three of four combinations: no interaction; each main effect contains half of what it would add."""
    design = Design.of({"a": [0, 1, 0], "b": [0, 0, 1]})
    found = effects(Sample.of(50, [1.0, 3.0, 6.0], 1.0), design)
    assert found.effect.estimate == pytest.approx([2.0, 5.0])
    assert [[(alias.term, alias.share) for alias in of] for of in found.aliases] == [
        [(("a", "b"), -0.5)],
        [(("a", "b"), -0.5)],
    ]


def test_factors_that_go_together_or_never_change_are_named() -> None:
    design = Design.of({"a": [0, 1, 0, 1], "twin": [0, 1, 0, 1], "fixed": [1, 1, 1, 1], "b": [0, 0, 1, 1]})
    found = effects(Sample.of(50, [1.0, 2.0, 3.0, 4.0], 1.0), design)
    told = dict(zip(found.terms, found.effect.values(), strict=True))
    assert told[("a",)].estimate == pytest.approx(1.0)
    for factor in ("twin", "fixed"):
        assert told[(factor,)].estimate is None
        assert told[(factor,)].why_code == "not_separable"
    mixed = {term: {alias.term for alias in of} for term, of in zip(found.terms, found.aliases, strict=True)}
    assert ("twin",) in mixed[("a",)]
    assert ("a",) in mixed[("twin",)]
    assert () in mixed[("fixed",)]


def test_adjusted_means_serve_too() -> None:
    """CUPED's common shift cancels: the interaction is the difference of differences of adjusted means."""
    design = full(2)
    arm, y = simulate(design, 5)
    x = y + np.random.default_rng(5).normal(0, 1, len(y))
    sample = cuped_means(Moments.from_rows(["y", "x"], np.column_stack([y, x]), cell=arm), "y", ["x"]).sample
    found = effects(sample, design).effect[2].value()
    m = sample.mean
    assert found.estimate == pytest.approx(m[3] - m[2] - m[1] + m[0])
    assert found.std_error == pytest.approx(float((sample.variance / sample.n).sum()) ** 0.5, rel=1e-9)


@given(st.integers(0, 10**6), st.floats(1e-4, 1e4))
@settings(max_examples=30, deadline=None)
def test_turning_a_factor_round_and_scaling(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    n, mean, variance = rng.integers(5, 100, 8), rng.normal(0, 5, 8), rng.gamma(2, 1, 8)
    design = full(3)
    turned = Design(design.factors, np.column_stack([1 - design.levels[:, 0], design.levels[:, 1:]]))
    one = effects(Sample.of(n, mean, variance), design, order=2).effect
    other = effects(Sample.of(n, mean * scale, variance * scale**2), turned, order=2).effect
    signs = np.array([-1, 1, 1, -1, -1, 1])
    assert other.estimate == pytest.approx(one.estimate * signs * scale, rel=1e-6, abs=1e-9 * scale)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-5, abs=1e-12)
    assert ((one.ci_low > 0) | (one.ci_high < 0)).tolist() == (one.p_value < 0.05).tolist()


def test_grids_are_done_at_once() -> None:
    rng = np.random.default_rng(6)
    n, mean, variance = rng.integers(5, 100, (4, 3, 2)), rng.normal(0, 5, (4, 3, 2)), rng.gamma(2, 1, (4, 3, 2))
    n[0, 2, 1] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = effects(Sample.of(n, mean, variance), full(2), order=1).effect
    assert together.shape == (2, 3, 2)
    for i, j in np.ndindex(3, 2):
        alone = effects(Sample.of(n[:, i, j], mean[:, i, j], variance[:, i, j]), full(2), order=1).effect
        np.testing.assert_allclose(together.p_value[:, i, j], alone.p_value, rtol=1e-9)
    assert {value.why_code for value in together[:, 2, 1].values()} == {"too_few_units"}


def test_nothing_out_of_no_variation_and_what_does_not_fit() -> None:
    flat = effects(Sample.of(10, [1.0, 2.0, 3.0, 4.0], 0.0), full(2)).effect
    assert {value.why_code for value in flat.values()} == {"zero_variance"}
    assert all(value.p_value is None for value in flat.values())
    with pytest.raises(ValueError, match="first axis"):
        effects(Sample.of(10, [1.0, 2.0, 3.0], 1.0), full(2))
    with pytest.raises(ValueError, match="0 \\(low\\)"):
        Design.of({"a": [0, 2]})
    with pytest.raises(ValueError, match="one level"):
        Design.of({"a": [0, 1], "b": [0]})
    with pytest.raises(ValueError, match="factors"):
        Design.of({})
