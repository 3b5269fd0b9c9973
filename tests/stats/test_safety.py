"""The paired safety test and the index of drift: against SciPy, by hand, and in what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from stats.ope.drift import level_drift, numeric_drift, stability_index
from stats.ope.safety import difference_of_groups, mixed, paired_scores, paired_test


def test_the_bounds_are_those_of_a_mean_moved_out_by_johnsons_correction() -> None:
    """Johnson (1978), eq. 2.7: the mean is moved by the third moment / (6 s² n) · (1 + 2 z²)."""
    rng = np.random.default_rng(1)
    scores = rng.exponential(1.0, 500) - 0.9
    found = paired_test(scores, alpha=0.05)
    error = scores.std(ddof=1) / np.sqrt(500)
    z = scipy_stats.norm.ppf(0.95)
    third = ((scores - scores.mean()) ** 3).mean()
    shift = third / (6 * scores.var(ddof=1) * 500) * (1 + 2 * z**2)
    assert found.std_error == pytest.approx(error)
    assert found.ci_high == pytest.approx(scores.mean() + shift + z * error)
    assert found.ci_low == pytest.approx(scores.mean() - z * error)  # no bound is moved in
    assert shift > 0
    assert paired_test(-scores).ci_low == pytest.approx(-(found.ci_high or 0))
    assert found.noticed(2 * error) == pytest.approx(scipy_stats.norm.cdf(2 - z))
    assert found.noticed(found.noticeable(0.9) or 0) == pytest.approx(0.9)


def test_scaling_rewards_scales_everything_and_changes_no_verdict() -> None:
    rng = np.random.default_rng(2)
    scores, unit = rng.normal(-0.1, 1, 1000), rng.integers(0, 300, 1000)
    one, hundred = paired_test(scores, unit), paired_test(100 * scores, unit)
    assert hundred.ci_high == pytest.approx(100 * (one.ci_high or 0))
    assert one.harmful == hundred.harmful
    order = rng.permutation(1000)
    assert paired_test(scores[order], unit[order]).std_error == pytest.approx(one.std_error)


def test_repeats_of_a_member_tell_nothing_new() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, 200)
    once = paired_test(scores)
    thrice = paired_test(np.repeat(scores, 3), np.repeat(np.arange(200), 3))
    assert thrice.std_error == pytest.approx(once.std_error)
    assert thrice.ci_high == pytest.approx(once.ci_high)


def test_weights_count_as_repeats_of_members_do_in_the_mean() -> None:
    """A weight of 2 is two decisions of one member: the same mean and error."""
    rng = np.random.default_rng(8)
    scores, weight = rng.normal(0.1, 1, 300), rng.integers(1, 4, 300)
    weighted = paired_test(scores, weight=weight)
    repeated = paired_test(np.repeat(scores, weight), np.repeat(np.arange(300), weight))
    assert weighted.difference == pytest.approx(repeated.difference)
    assert weighted.std_error == pytest.approx(repeated.std_error)
    assert weighted.ci_high == pytest.approx(repeated.ci_high)
    with pytest.raises(ValueError, match="weights must be 300"):
        paired_test(scores, weight=np.zeros(300))


def test_equal_versions_are_the_same_and_harmless() -> None:
    p = np.full((10, 2), 0.5)
    found = paired_test(paired_scores(np.ones(10), np.zeros(10, int), np.full(10, 0.5), p, p, np.zeros((10, 2))))
    assert (found.same, found.harmful, found.better, found.ci_high) == (True, False, False, None)
    assert paired_test([]).difference is None


def test_the_paired_difference_is_unbiased_whatever_the_model_says() -> None:
    """400 logs; the mean of the differences lies within 4 standard errors (false alarm 6e-5) of the truth, q̂ wrong."""
    rng = np.random.default_rng(4)
    truth = np.array([0.1, 0.3])
    new, live, logged = np.array([0.2, 0.8]), np.array([0.7, 0.3]), np.array([0.9, 0.1])
    wrong = np.array([0.5, -0.2])
    found = []
    for _ in range(400):
        drawn = (rng.random(200) < logged[1]).astype(int)
        reward = (rng.random(200) < truth[drawn]).astype(float)
        scores = paired_scores(
            reward,
            drawn,
            logged[drawn],
            np.tile(new, (200, 1)),
            np.tile(live, (200, 1)),
            np.tile(wrong, (200, 1)),
        )
        found.append(scores.mean())
    wanted = float(((new - live) * truth).sum())
    assert abs(np.mean(found) - wanted) < 4 * np.std(found) / np.sqrt(400)


def test_weighing_by_the_mixture_is_unbiased_and_narrower() -> None:
    rng = np.random.default_rng(5)
    n, share = 40_000, 0.1
    p, even = np.tile([0.99, 0.01], (n, 1)), np.full((n, 2), 0.5)
    control = rng.random(n) < share
    chance = np.where(control, 0.5, 0.01)
    drawn = (rng.random(n) < chance).astype(int)
    reward = (rng.random(n) < np.array([0.1, 0.2])[drawn]).astype(float)
    new, live, q = np.tile([0.0, 1.0], (n, 1)), np.tile([1.0, 0.0], (n, 1)), np.zeros((n, 2))
    own = np.where(drawn == 1, chance, 1 - chance)
    both = mixed(p, even, share)[np.arange(n), drawn]
    by_own = paired_test(paired_scores(reward, drawn, own, new, live, q))
    by_both = paired_test(paired_scores(reward, drawn, both, new, live, q))
    assert abs((by_both.difference or 0) - 0.1) < 4 * (by_both.std_error or 0)
    assert (by_both.std_error or 0) < 0.7 * (by_own.std_error or 0)


def test_groups_compare_as_welch_does() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 2, 3000), rng.normal(0.9, 1, 500)
    found = difference_of_groups(np.r_[a, b], np.r_[np.ones(3000, bool), np.zeros(500, bool)])
    welch = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert found.ci_low == pytest.approx(welch.low, abs=0.002)
    assert found.ci_high == pytest.approx(welch.high, abs=0.002)
    assert difference_of_groups([1.0, 2.0], [True, True]).difference is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"propensity": [0.5, 0.0]}, "propensity"),
        ({"reward": [np.nan, 1.0]}, "reward is not finite"),
        ({"variant": [0]}, "do not fit"),
    ],
)
def test_what_cannot_be_weighed_is_refused(changed: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "reward": [0.0, 1.0], "variant": [0, 1], "propensity": [0.5, 0.5], "new": [[0.5, 0.5]] * 2,
        "live": [[0.5, 0.5]] * 2, "predicted": [[0.0, 0.0]] * 2,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        paired_scores(**(given | changed))  # type: ignore[arg-type]


def test_the_index_is_the_textbook_one_less_what_chance_lets_it_be() -> None:
    """By hand: Σ (q − p) ln(q/p) of shares with half a member added to each bin, less 2·(1/1000 + 1/500)."""
    old, new = np.array([500, 300, 200]), np.array([200, 150, 150])
    p, q = (old + 0.5) / 1001.5, (new + 0.5) / 501.5
    assert stability_index(old, new) == pytest.approx(((q - p) * np.log(q / p)).sum() - 2 * (1 / 1000 + 1 / 500))


def test_samples_of_one_population_rarely_look_drifted() -> None:
    """300 pairs of samples of 400: at most 1 % come out above .1 (their true index is 0)."""
    rng = np.random.default_rng(7)
    stages = np.array(list("abcdefgh"), dtype=object)
    numeric = [numeric_drift(rng.normal(size=400), rng.normal(size=400)) for _ in range(300)]
    levels = [level_drift(rng.choice(stages, 400), rng.choice(stages, 400)) for _ in range(300)]
    assert np.mean(np.array(numeric + levels, dtype=float) > 0.1) <= 0.01


def test_missing_values_and_new_levels_are_drift_and_few_members_say_nothing() -> None:
    line = np.linspace(0, 1, 1000)
    gone = np.where(line < 0.5, np.nan, line)
    assert (numeric_drift(line, gone) or 0) > 0.25
    assert (level_drift(["a"] * 500, ["a"] * 250 + [None] * 250) or 0) > 0.25
    assert numeric_drift(line[:100], line) is None
    assert level_drift([], ["a"] * 500) is None
