"""What a running test can still show, against the planning functions and in words."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from experiments.report.document import Comparison, Estimate, MetricResult, Plan, VariantInfo, VariantSummary
from experiments.report.outlook import NO_BASELINE, NO_MORE_COME, NOT_THIS_DESIGN, outlook_of, outlook_text
from stats.decision import Progress
from stats.power import Means, mde

NOTHING = Estimate(estimate=None, ci_low=None, ci_high=None, ci_low_adjusted=None, ci_high_adjusted=None)


def scorecard(mean: float = 12.0, sd: float = 40.0, n: int = 10_000, reduction: float | None = None) -> MetricResult:
    error = sd / n**0.5
    comparison = Comparison(
        variant="A", effect=NOTHING, relative=NOTHING, p_value=0.5, p_value_adjusted=0.5, reading="unclear",
        readable=True, method="welch", variance_reduction=reduction,
    )  # fmt: skip
    arms = [VariantSummary(variant=v, n=n, mean=mean, std_error=error) for v in ("control", "A")]
    return MetricResult(
        name="spend", label={"en": "Spend", "zh-CN": "消费"}, kind="sum", role="primary", direction="increase",
        unit="money", control="control", variants=arms, comparisons=[comparison],
    )  # fmt: skip


def plan(**changes: Any) -> Plan:
    arms = [VariantInfo(key=k, name={"en": k}, weight=0.5, is_control=k == "control") for k in ("control", "A")]
    return Plan(**{"title": {}, "control": "control", "variants": arms, **changes})


def test_the_detectable_effect_is_that_of_planning() -> None:
    (found,) = outlook_of([scorecard()], plan(), Progress(units=20_000))
    expected = float(mde(Means(40.0, freedom="normal"), 10_000)) / 12
    assert found.mde_relative == pytest.approx(expected, rel=1e-9)
    assert found.units_needed is None
    (less,) = outlook_of([scorecard(reduction=0.36)], plan(), Progress(units=20_000))
    assert less.mde_relative == pytest.approx(0.8 * expected, rel=1e-9)


def test_units_grow_with_the_square_and_days_with_the_pace() -> None:
    progress = Progress(enrolment="rolling", inference="fixed", units=20_000, days=10)
    (found,) = outlook_of([scorecard()], plan(enrolment="rolling"), progress, target=0.05)
    assert found.mde_relative is not None
    assert found.units_needed == pytest.approx(20_000 * (found.mde_relative / 0.05) ** 2, abs=1)
    assert found.days_left == -(-(found.units_needed - 20_000) * 10 // 20_000)
    (enough,) = outlook_of([scorecard()], plan(enrolment="rolling"), progress, target=0.5)
    assert enough.days_left == 0
    (sent,) = outlook_of([scorecard()], plan(), Progress(units=20_000), target=0.05)
    assert (sent.days_left, sent.why) == (None, NO_MORE_COME)


def test_watching_costs_what_its_bounds_cost() -> None:
    (fixed,) = outlook_of([scorecard()], plan(), Progress(units=20_000))
    watched = Progress(enrolment="rolling", inference="always_valid", units=20_000, days=28)
    (always,) = outlook_of([scorecard()], plan(inference="always_valid"), watched)
    (planned,) = outlook_of([scorecard()], plan(inference="group_sequential"), watched)
    assert fixed.mde_relative is not None
    assert planned.mde_relative is not None
    assert always.mde_relative is not None
    assert 1.0 < planned.mde_relative / fixed.mde_relative < 1.04
    assert 1.25 < always.mde_relative / fixed.mde_relative < 1.45


def test_several_variants_share_alpha() -> None:
    metric = scorecard()
    other = Comparison(
        **{f: getattr(metric.comparisons[0], f) for f in Comparison.__struct_fields__} | {"variant": "B"}
    )
    three = MetricResult(
        **{f: getattr(metric, f) for f in MetricResult.__struct_fields__}
        | {
            "comparisons": [metric.comparisons[0], other],
            "variants": [*metric.variants, VariantSummary(variant="B", n=10_000, mean=12.0, std_error=0.4)],
        }
    )
    found = outlook_of([three], plan(), Progress(units=30_000))
    z = stats.norm.isf(0.0125) + stats.norm.ppf(0.8)
    assert [o.variant for o in found] == ["A", "B"]
    assert found[0].mde_relative == pytest.approx(z * 0.4 * 2**0.5 / 12, rel=1e-9)


def test_what_cannot_be_told_says_why() -> None:
    (zero,) = outlook_of([scorecard(mean=0.1)], plan(), Progress(units=20_000))
    assert (zero.mde_relative, zero.why) == (None, NO_BASELINE)
    (still,) = outlook_of([scorecard(sd=0.0)], plan(), Progress(units=20_000))
    assert still.mde_relative is None
    assert still.why
    (clusters,) = outlook_of([scorecard()], plan(design="clusters"), Progress(units=20_000))
    assert clusters.why == NOT_THIS_DESIGN


def test_sentences() -> None:
    progress = Progress(enrolment="rolling", inference="fixed", units=20_000, days=10)
    (found,) = outlook_of([scorecard()], plan(enrolment="rolling"), progress, target=0.05)
    text = outlook_text(found, {"en": "Spend", "zh-CN": "消费"}, {"en": "A"})
    assert text["en"].startswith("Spend (A): with the present sample an effect of ±13.2% would be found")
    assert "more days at the present pace." in text["en"]
    assert text["zh-CN"].startswith("消费（A）：")
    assert "按目前速度还需" in text["zh-CN"]
