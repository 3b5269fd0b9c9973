"""Reports for page tests with every section that a declared analysis adds: one group sequential, one Bayesian.

The numbers are invented; the pages only print them.
"""

from __future__ import annotations

import msgspec

from experiments.report.document import (
    Factorial,
    FactorialTerm,
    Interaction,
    PooledWaves,
    Reached,
    Report,
    SequentialLook,
    SequentialPlan,
    SequentialTest,
    SurvivalCurve,
    SurvivalPoint,
    Wave,
)
from tests.api.web_reports import METRICS, REPORT, VERDICT, estimate, rule

HOME_PAGE = {"en": "Home page: picks or menu?", "zh-CN": "首页：精选还是菜单？"}


def looks(variant: str) -> SequentialTest:
    """27 looks, on the days of the report's curves; the last lies below the futility bound."""
    made = [
        SequentialLook(
            day=day,
            units=1_700 * day,
            information=day / 40,
            alpha_spent=0.001 * day,
            z=0.3,
            bound=12.0 / day**0.5,
            futility=None if day < 5 else -4 + day / 5,
        )
        for day in range(2, 29)
    ]
    return SequentialTest(metric="profit-14d", variant=variant, looks=made, crossed_day=None, futile=True)


def others(p_value: float) -> list[Interaction]:
    """Two other experiments; the first has a name, and the variant a's effect may depend on it."""
    return [
        Interaction(
            kind="experiment",
            subject=subject,
            label=label,
            metric="profit-14d",
            variant=variant,
            statistic=1.5,
            df=1,
            p_value=p / 2,
            p_value_adjusted=p,
            units=2_531,
        )
        for subject, label, values in (
            ("home-page-picks", HOME_PAGE, {"a": p_value, "b": 0.81}),
            ("points-reminder", {}, {"a": 0.64, "b": 0.92}),
        )
        for variant, p in values.items()
    ]


FACTORIAL = Factorial(
    metric="profit-14d",
    terms=[
        FactorialTerm(factors=["coupon"], effect=estimate(0.4, 0.2), p_value=0.004, p_value_adjusted=0.0123),
        FactorialTerm(
            factors=["coupon", "sms"], effect=estimate(-0.1, 0.3), p_value=0.5, p_value_adjusted=0.5, aliases=[["push"]]
        ),
    ],
)
SURVIVAL = [
    SurvivalCurve(
        metric="repurchase-14d",
        variant=variant,
        horizon_days=14,
        points=[
            SurvivalPoint(day=d, at_risk=48_000 - d, survival=1 - d * drop, ci_low=0.99 - d * drop, ci_high=1.0)
            for d in range(15)
        ],
    )
    for variant, drop in (("control", 0.005), ("a", 0.006), ("b", 0.0065), ("c", 0.0052))
]
WAVES = PooledWaves(
    metric="profit-14d",
    variant="a",
    waves=[Wave(occasion=f"2026-0{m}", n=24_000, effect=estimate(0.3 + m / 20, 0.4), weight=0.5) for m in (1, 2)],
    effect=estimate(0.36, 0.3),
    prediction_low=-0.1,
    prediction_high=0.8,
    spread=0.1,
    heterogeneity_p=0.68,
)
REACHED = [
    Reached(metric="profit-14d", variant=v, reached=0.7, reached_control=0.0, effect=estimate(0.5, 0.4)) for v in "abc"
] + [
    Reached(
        metric="repurchase-14d",
        variant=v,
        reached=0.7,
        reached_control=0.0,
        effect=estimate(None, 0),
        why="not defined for this kind of metric",
    )
    for v in "abc"
]


def watched() -> Report:
    """A running group-sequential test with little hope left, and every other section."""
    shrunken = [
        msgspec.structs.replace(
            b,
            rows=[msgspec.structs.replace(r, shrunken=estimate(0.3, 0.2)) for r in b.rows],
            interactions=[
                Interaction(
                    kind="attribute",
                    subject=b.attribute,
                    metric=b.metric,
                    variant=variant,
                    statistic=2.0,
                    df=2,
                    p_value=p / 2,
                    p_value_adjusted=p,
                )
                for variant, p in (("a", 0.004), ("b", 0.53))
            ],
        )
        for b in REPORT.breakdowns
    ]
    plan = msgspec.structs.replace(
        REPORT.plan,
        experiment="watched",
        state="running",
        inference="group_sequential",
        enrolment="rolling",
        ended_at=None,
        sequential=SequentialPlan(spending="obrien_fleming", planned_units=300_000, futility_power=0.8),
    )
    rules = [
        rule("planned_sample", "Planned sample reached", "达到计划样本量", False, "47,600 of 300,000"),
        rule("primary_better", "Profit: better", "利润：更好", False, "+2.0%"),
        msgspec.structs.replace(rule("guardrail_within", "Returns", "退货", False, "at worst +60%"), failed=True),
    ]
    return msgspec.structs.replace(
        REPORT,
        plan=plan,
        verdict=msgspec.structs.replace(VERDICT, code="keep_running", variant=None, rules=rules),
        breakdowns=shrunken,
        sequential=[looks(v) for v in "abc"],
        reached=REACHED,
        overlaps=others(0.006),
        pooled=[WAVES],
        factorial=[FACTORIAL],
        survival=SURVIVAL,
    )


def believed() -> Report:
    """A Bayesian report: chances and losses, and no p beside them."""
    best = {"control": 0.02, "a": 0.9, "b": 0.03, "c": 0.05}
    metrics = [
        msgspec.structs.replace(
            m,
            chance_best=best,
            comparisons=[
                msgspec.structs.replace(
                    c,
                    p_value=None,
                    p_value_adjusted=None,
                    p_value_margin=None,
                    chance_to_win=0.93,
                    expected_loss=0.0003,
                )
                for c in m.comparisons
            ],
        )
        for m in METRICS
    ]
    breakdowns = [
        msgspec.structs.replace(
            b,
            rows=[msgspec.structs.replace(r, p_value=None, p_value_adjusted=None) for r in b.rows],
            interactions=[
                Interaction(
                    kind="attribute",
                    subject=b.attribute,
                    metric=b.metric,
                    variant=variant,
                    statistic=None,
                    df=2,
                    p_value=None,
                    p_value_adjusted=None,
                )
                for variant in "ab"
            ],
            spread={"a": 0.0, "b": 0.0},
        )
        for b in REPORT.breakdowns
    ]
    return msgspec.structs.replace(
        REPORT,
        plan=msgspec.structs.replace(REPORT.plan, experiment="believed", inference="bayesian", multiplicity="none"),
        metrics=metrics,
        breakdowns=breakdowns,
        methods=[],
        overlaps=others(0.006),
        pooled=[WAVES],
        factorial=[FACTORIAL],
        reached=REACHED,
    )
