"""Values of treating the top share: against the definition, against doubly robust scores, and honest about the best."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.policy_curve import from_scores, on_halves, policy_curve
from tests.stats.uplift.test_curves import some_rows

MARGIN, FACE, CONTACT = 60.0, 30.0, 0.1


def priced_rows(seed: int, scores: int | None) -> tuple[np.ndarray, ...]:
    """Rows with propensities of their own, and redemptions of some of those who got the offer and bought."""
    generator = np.random.default_rng(seed)
    outcome, _, score = some_rows(seed, 200, scores=scores)
    propensity = generator.uniform(0.1, 0.9, 200)
    treated = generator.random(200) < propensity
    redeemed = outcome * treated * (generator.random(200) < 0.7)
    return outcome, treated, propensity, score, redeemed


@pytest.mark.parametrize("scores", [None, 6])
def test_values_are_those_of_the_definition(scores: int | None) -> None:
    y, w, e, score, r = priced_rows(1, scores)
    found = policy_curve(y, w, e, score, margin=MARGIN, face_value=FACE, redeemed=r, contact=CONTACT)
    for share, value in zip(found.share, found.value, strict=True):
        level = np.sort(score)[::-1][round(share * 200) - 1] if share else np.inf
        terms = np.where(score >= level, w / e * (MARGIN * y - FACE * r - CONTACT), (1.0 - w) / (1 - e) * MARGIN * y)
        assert value == pytest.approx(terms.mean())
    assert (found.none, found.all) == pytest.approx((found.value[0], found.value[-1]))
    assert found.best_value == found.value.max() == found.value[found.share == found.best_share][0]
    assert found.std_error[0] == 0.0


@pytest.mark.parametrize("scores", [None, 6])
def test_it_is_the_curve_of_scores_without_a_model(scores: int | None) -> None:
    """Doubly robust scores with predictions of 0 are weighted outcomes, so both roads lead to the same points."""
    y, w, e, score, r = priced_rows(2, scores)
    curve = policy_curve(y, w, e, score, margin=MARGIN, face_value=FACE, redeemed=r, contact=CONTACT)
    weighted = np.column_stack(((1.0 - w) / (1 - e) * MARGIN * y, w / e * (MARGIN * y - FACE * r - CONTACT)))
    points = from_scores(weighted, np.ones(200, dtype=np.intp), score, curve.share)
    assert points.gain == pytest.approx(curve.value - curve.none, abs=1e-9)
    assert points.std_error == pytest.approx(curve.std_error, abs=1e-9)
    last = weighted[:, 1] - weighted[:, 0]
    assert points.std_error[-1] == pytest.approx(last.std(ddof=1) / np.sqrt(200))
    assert points.ci_high - points.gain == pytest.approx(1.959964 * points.std_error, rel=1e-6)


def test_a_share_that_ends_among_equals_takes_its_part_of_each() -> None:
    scores = np.array([[0.0, 4.0, 9.0], [0.0, 2.0, 9.0], [1.0, 0.0, 2.0]])
    choice, priority = np.array([1, 1, 2]), np.array([5.0, 5.0, 1.0])
    points = from_scores(scores, choice, priority, [0.0, 1 / 3, 2 / 3, 5 / 6, 1.0])
    assert points.gain == pytest.approx([0.0, 1.0, 2.0, 6.5 / 3, 7 / 3])
    halves = np.array([2.0, 1.0, 0.0])
    assert points.std_error[1] == pytest.approx(halves.std(ddof=1) / np.sqrt(3))
    # Units whose arm is none add nothing, whenever their turn comes.
    assert from_scores(scores, np.zeros(3, dtype=np.intp), priority).gain.tolist() == [0.0] * 101


def test_the_order_of_rows_does_not_matter() -> None:
    generator = np.random.default_rng(4)
    scores = np.column_stack((np.zeros(500), generator.normal(0.1, 1, 500)))
    priority, one, mixed = generator.normal(size=500), np.ones(500, dtype=np.intp), generator.permutation(500)
    first, again = on_halves(scores, one, priority, seed=2), on_halves(scores[mixed], one, priority[mixed], seed=2)
    assert again.best_share == first.best_share
    assert again.best.estimate == pytest.approx(first.best.estimate)
    assert on_halves(scores, one, priority, seed=3).best != first.best


def test_the_best_share_of_noise_is_worth_nothing_on_the_other_half() -> None:
    """400 samples of an offer that does nothing: the maximum of the curve lies above 0, its value elsewhere does not.

    The mean of 400 values has a standard error of about .004; 4 of them are a false alarm of 6e-5.
    """
    picked, honest, inside = [], [], 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        scores = np.column_stack((np.zeros(200), generator.normal(0, 1, 200)))
        priority, one = generator.normal(size=200), np.ones(200, dtype=np.intp)
        picked.append(from_scores(scores, one, priority).gain.max())
        found = on_halves(scores, one, priority, seed=seed)
        honest.append(found.best.estimate)
        inside += found.all.ci_low <= 0 <= found.all.ci_high
    assert np.mean(picked) > 0.05
    assert abs(np.mean(honest)) < 4 * np.std(honest) / np.sqrt(400)
    assert inside / 400 == pytest.approx(0.95, abs=0.04)


def test_rows_that_do_not_fit_are_refused() -> None:
    scores, one = np.zeros((4, 2)), np.ones(4, dtype=np.intp)
    with pytest.raises(ValueError, match="one choice for each row"):
        from_scores(scores, one[:2], np.zeros(4))
    with pytest.raises(ValueError, match="one priority"):
        from_scores(scores, one, np.zeros(3))
    with pytest.raises(ValueError, match="share"):
        from_scores(scores, one, np.zeros(4), [1.2])
    with pytest.raises(ValueError, match="4 units"):
        on_halves(scores[:3], one[:3], np.zeros(3))
    with pytest.raises(ValueError, match="propensity"):
        policy_curve([1, 0], [1, 0], 1.0, [1, 2], margin=1, face_value=0, redeemed=0, contact=0)
