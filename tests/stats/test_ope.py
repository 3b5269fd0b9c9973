"""Off-policy estimators: what must hold whatever the numbers, and coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.ope import Logged, diagnostics, dr, dros, empirical_bernstein, estimates, ips, sndr, snips, switch_dr, wald
from stats.ope.intervals import freedom

N, K = 300, 4


def drawn(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logging, target = (rng.dirichlet(np.full(K, 2.0), size=n) * 0.9 + 0.1 / K for _ in range(2))
    variant = (rng.random((n, 1)) > np.cumsum(logging, axis=1)[:, :-1]).sum(axis=1)
    q = rng.random((n, K))
    reward = (rng.random(n) < q[np.arange(n), variant]).astype(float)
    return variant, reward, logging, target, q


def logged(seed: int, n: int = N) -> Logged:
    variant, reward, logging, target, q = drawn(seed, n)
    return Logged.of(reward, variant, logging[np.arange(n), variant], target, q)


@given(st.integers(0, 10_000), st.floats(0.001, 1000.0), st.floats(-100.0, 100.0))
def test_amounts_in_another_unit_and_from_another_zero(seed: int, factor: float, shift: float) -> None:
    base = logged(seed)
    scaled = Logged(base.reward * factor, base.weight, base.q_logged * factor, base.v * factor)
    for name, found in estimates(scaled).items():
        before = estimates(base)[name]
        assert found.value == pytest.approx(factor * before.value, rel=1e-9)
        assert found.std_error == pytest.approx(factor * before.std_error, rel=1e-9)
    moved = snips(base.reward + shift, base.weight)
    assert moved.value == pytest.approx(snips(base.reward, base.weight).value + shift, abs=1e-8)
    assert moved.std_error == pytest.approx(snips(base.reward, base.weight).std_error, rel=1e-6)


@given(st.integers(0, 10_000))
def test_the_order_of_decisions_does_not_matter(seed: int) -> None:
    base = logged(seed)
    order = np.random.default_rng(seed).permutation(N)
    shuffled = Logged(base.reward[order], base.weight[order], base.q_logged[order], base.v[order])
    for name, found in estimates(shuffled).items():
        assert found.value == pytest.approx(estimates(base)[name].value, rel=1e-12)


def test_the_logging_policy_itself_is_worth_what_it_earned() -> None:
    variant, reward, logging, _, q = drawn(3)
    same = Logged.of(reward, variant, logging[np.arange(N), variant], logging, q)
    assert np.allclose(same.weight, 1.0)
    assert ips(same.reward, same.weight).value == pytest.approx(reward.mean())
    assert snips(same.reward, same.weight).value == pytest.approx(reward.mean())
    assert same.diagnostics.ess == pytest.approx(N)


def test_the_extremes_of_the_tuned_estimators_are_the_plain_ones() -> None:
    one = logged(5)
    model = (one.reward, one.weight, one.q_logged, one.v)
    assert switch_dr(*model, tau=np.inf) == dr(*model)
    assert switch_dr(*model, tau=0.0).value == pytest.approx(one.v.mean())
    assert dros(*model, strength=np.inf) == dr(*model)
    assert dros(*model, strength=0.0).value == pytest.approx(one.v.mean())
    zero = np.zeros(N)
    assert dr(one.reward, one.weight, zero, zero) == ips(one.reward, one.weight)
    assert sndr(one.reward, one.weight, zero, zero).value == pytest.approx(snips(one.reward, one.weight).value)


def test_repeating_every_decision_of_a_member_tells_nothing_new() -> None:
    one = logged(7)
    thrice = np.repeat(np.arange(N), 3)
    single = ips(one.reward, one.weight)
    repeated = ips(one.reward[thrice], one.weight[thrice], cluster=thrice)
    assert repeated.value == pytest.approx(single.value)
    assert repeated.std_error == pytest.approx(single.std_error)
    assert (repeated.rows, repeated.clusters) == (3 * N, N)
    assert ips(one.reward[thrice], one.weight[thrice]).std_error < 0.6 * single.std_error
    assert snips(one.reward[thrice], one.weight[thrice], cluster=thrice).std_error == pytest.approx(
        snips(one.reward, one.weight).std_error
    )
    assert ips(one.reward, one.weight, cluster=np.arange(N)).std_error == pytest.approx(single.std_error)


def test_dr_covers_the_truth_and_is_narrower_than_ips() -> None:
    """2,000 logs of 300 decisions, seed 11: coverage .95 within three standard errors (false alarms .3 %)."""
    covered, narrower = 0, 0
    runs = 2000
    rng = np.random.default_rng(11)
    contexts = rng.random((N, K))
    logging = rng.dirichlet(np.full(K, 3.0), size=N) * 0.8 + 0.2 / K
    target = rng.dirichlet(np.full(K, 3.0), size=N)
    truth = float((target * contexts).sum(axis=1).mean())
    model = np.clip(contexts + rng.normal(0, 0.1, contexts.shape), 0, 1)
    rows = np.arange(N)
    for _ in range(runs):
        variant = (rng.random((N, 1)) > np.cumsum(logging, axis=1)[:, :-1]).sum(axis=1)
        reward = (rng.random(N) < contexts[rows, variant]).astype(float)
        one = Logged.of(reward, variant, logging[rows, variant], target, model)
        found = dr(one.reward, one.weight, one.q_logged, one.v)
        plain = ips(one.reward, one.weight)
        covered += found.ci_low <= truth <= found.ci_high
        narrower += found.std_error < plain.std_error
    # Contexts are the same in every run, which the interval does not know: it may be somewhat too wide.
    assert covered / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert narrower / runs > 0.95


def test_bernstein_intervals_hold_where_the_normal_ones_fail() -> None:
    """30 decisions, rewards of one in a hundred: the normal interval mostly has no width."""
    rng = np.random.default_rng(2)
    runs = 1000
    normal, exact = 0, 0
    for _ in range(runs):
        reward = (rng.random(30) < 0.01).astype(float)
        found = wald(reward)
        normal += found.ci_low is not None and found.ci_low <= 0.01 <= found.ci_high
        bounded = empirical_bernstein(reward, 0.0, 1.0)
        exact += bounded.ci_low <= 0.01 <= bounded.ci_high
    assert normal / runs < 0.5
    assert exact == runs


def test_bernstein_by_member_counts_members() -> None:
    scores = np.tile([0.0, 1.0], 100)
    alone = empirical_bernstein(scores, 0.0, 1.0)
    members = empirical_bernstein(np.repeat(scores, 2), 0.0, 1.0, cluster=np.repeat(np.arange(200), 2))
    assert members.ci_low == pytest.approx(alone.ci_low)
    assert members.clusters == 200
    with pytest.raises(ValueError, match=r"outside the bounds 0 and 0\.5"):
        empirical_bernstein(scores, 0.0, 0.5)


def test_nothing_is_nan_where_nothing_can_be_said() -> None:
    for found in (wald([]), ips([], []), snips([], []), empirical_bernstein([], 0.0, 1.0)):
        assert (found.value, found.why_code) == (None, "no_decisions")
    one = ips([1.0], [2.0])
    assert (one.value, one.ci_low, one.why_code) == (2.0, None, "too_few_decisions")
    same = ips([0.0] * 9, [1.0] * 9)
    assert (same.value, same.std_error, same.why_code) == (0.0, None, "same_scores")
    never = snips([1.0, 0.0], [0.0, 0.0])
    assert (never.value, never.why_code) == (None, "no_support")
    assert sndr([1.0, 0.0], [0.0, 0.0], [0.5, 0.5], [0.5, 0.5]).why_code == "no_support"
    assert ips([1.0, 2.0], [1.0, 1.0], cluster=["a", "a"]).why_code == "too_few_decisions"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ips([1.0, np.nan], [1.0, 1.0]), "reward of decision 1 is not finite"),
        (lambda: ips([1.0], [-1.0]), "negative"),
        (lambda: ips([1.0, 2.0], [1.0]), "one number for each decision"),
        (lambda: ips([1.0, 2.0], [1.0, 1.0], clip=0.0), "clip must be above 0"),
        (lambda: ips([1.0, 2.0], [1.0, 1.0], cluster=[1]), "cluster has shape"),
        (lambda: ips([1.0, 2.0], [1.0, 1.0], alpha=0.0), "alpha"),
        (lambda: Logged.of([1.0], [0], [0.0], [1.0]), "propensity of decision 0 is 0"),
        (lambda: Logged.of([1.0], [0], [0.5], [0.4, 0.4]), "sum to 1"),
        (lambda: Logged.of([1.0], [2], [0.5], [0.5, 0.5]), "variants must lie in 0 to 1"),
        (lambda: Logged.of([1.0], [0], [0.5], [0.5, 0.5], [0.1]), "q has shape"),
        (lambda: diagnostics([np.inf]), "finite"),
    ],
)
def test_what_cannot_be_used_is_refused(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]


def test_diagnostics_find_wrong_propensities_and_thin_overlap() -> None:
    variant, reward, logging, target, _ = drawn(13, 5000)
    rows = np.arange(5000)
    right = Logged.of(reward, variant, logging[rows, variant], target).diagnostics
    wrong = Logged.of(reward, variant, np.minimum(1.3 * logging[rows, variant], 1.0), target).diagnostics
    assert not right.off
    assert wrong.off
    assert not right.thin
    single = np.zeros(K)
    single[0] = 1.0
    thin = Logged.of(reward[:400], variant[:400], logging[rows, variant][:400], single).diagnostics
    assert thin.thin
    assert diagnostics([1e300, 1e300]).ess == pytest.approx(2.0)
    assert diagnostics([0.0, 0.0]).ess == 0.0
    assert diagnostics([1.0] * 40, [1.0] * 20 + [0.0] * 20).few
    assert not diagnostics([1.0] * 40, [1.0] * 40).few


def test_freedom_is_that_of_equal_normal_scores_where_they_are() -> None:
    """Normal data have n − 1 degrees of freedom: kurtosis 3; its sample value has s.e. √(24/n) = .05 here."""
    scores = np.random.default_rng(4).standard_normal(10_000)
    assert freedom(scores - scores.mean()) == pytest.approx(9_999, rel=0.08)
