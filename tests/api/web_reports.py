"""Reports for page tests: a four-variant win-back test, one with a broken split, one with nulls and nasty strings.

The numbers are invented but consistent (value = control × (1 + change)); the pages only print them.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from api.web.views import ExperimentListRow, list_row
from experiments.report.document import (
    Breakdown,
    BreakdownRow,
    Check,
    Comparison,
    Curve,
    CurvePoint,
    Estimate,
    MetricResult,
    Plan,
    Population,
    Report,
    RuleResult,
    Srm,
    VariantInfo,
    VariantSummary,
    Verdict,
)
from experiments.report.economics_document import AfterWindow, Economics, Figure, OfferEconomics
from experiments.report.economics_words import notes_of, sentences_of

NASTY = "<script>alert('x')</script>\"&{{7*7}}%(name)s 你好 </svg>"
UNITS = {"control": 48_911, "a": 48_987, "b": 49_034, "c": 48_862}


def estimate(middle: float | None, half: float, *, why: str | None = None) -> Estimate:
    if middle is None:
        return Estimate(estimate=None, ci_low=None, ci_high=None, ci_low_adjusted=None, ci_high_adjusted=None, why=why)
    return Estimate(
        estimate=middle,
        ci_low=middle - 0.8 * half,
        ci_high=middle + 0.8 * half,
        ci_low_adjusted=middle - half,
        ci_high_adjusted=middle + half,
        why=why,
    )


def metric(
    name: str,
    label: dict[str, str],
    control: float,
    changes: dict[str, tuple[float, float, float, str]],
    *,
    unit: str = "money",
    role: str = "primary",
    direction: str = "increase",
    description: dict[str, str] | None = None,
    **more: Any,
) -> MetricResult:
    """changes: variant → relative change, half-width, p, reading."""
    summaries = [VariantSummary(variant="control", n=UNITS["control"], mean=control, std_error=control * 0.01)]
    comparisons = []
    for key, (change, half, p_value, reading) in changes.items():
        summaries.append(
            VariantSummary(variant=key, n=UNITS[key], mean=control * (1 + change), std_error=control * 0.01)
        )
        comparisons.append(
            Comparison(
                variant=key,
                effect=estimate(control * change, control * half),
                relative=estimate(change, half),
                total=estimate(control * change * UNITS[key], control * half * UNITS[key]),
                p_value=p_value / 2,
                p_value_adjusted=p_value,
                reading=reading,  # type: ignore[arg-type]
                readable=True,
                method="cuped_mean" if role == "primary" and unit == "money" else "welch",
                variance_reduction=0.31 if unit == "money" and role == "primary" else None,
                p_value_margin=p_value if role == "guardrail" else None,
            )
        )
    return MetricResult(
        name=name,
        label=label,
        kind="mean",
        role=role,  # type: ignore[arg-type]
        direction=direction,  # type: ignore[arg-type]
        unit=unit,  # type: ignore[arg-type]
        control="control",
        variants=summaries,
        comparisons=comparisons,
        description=description or {},
        **more,
    )


METRICS = [
    metric(
        "profit-14d",
        {"en": "Profit per member", "zh-CN": "会员人均利润"},
        4.26,
        {
            "a": (0.090, 0.070, 0.010, "better"),
            "b": (-0.083, 0.070, 0.019, "worse"),
            "c": (0.0, 0.070, 1.0, "unclear"),
        },
        description={"en": "margin − offer − send cost", "zh-CN": "毛利−优惠−触达成本"},
        covariates=["profit-14d before"],
        window_days=14,
    ),
    metric(
        "repurchase-14d",
        {"en": "14-day repurchase rate", "zh-CN": "14 天复购率"},
        0.0642,
        {
            "a": (0.181, 0.076, 0.0001, "better"),
            "b": (0.232, 0.076, 0.00001, "better"),
            "c": (0.045, 0.076, 0.71, "unclear"),
        },
        unit="share",
        description={"en": "members with at least 1 order", "zh-CN": "至少下 1 单的会员占比"},
        window_days=14,
    ),
    metric(
        "revenue-14d",
        {"en": "Revenue per member", "zh-CN": "会员人均收入"},
        11.84,
        {
            "a": (0.213, 0.08, 0.0001, "better"),
            "b": (0.181, 0.08, 0.0001, "better"),
            "c": (0.031, 0.08, 1.0, "unclear"),
        },
        role="secondary",
        winsorised_at=0.995,
    ),
    metric(
        "orders-14d",
        {"en": "Orders per member", "zh-CN": "人均订单数"},
        0.0812,
        {
            "a": (0.049, 0.054, 0.29, "unclear"),
            "b": (-0.035, 0.054, 0.9, "unclear"),
            "c": (0.003, 1.9, 0.95, "unclear"),
        },
        unit="number",
        role="secondary",
    ),
    metric(
        "unsubscribe-14d",
        {"en": "Unsubscribe rate", "zh-CN": "退订率"},
        0.0082,
        {
            "a": (0.049, 0.214, 0.011, "within_limit"),
            "b": (0.110, 0.214, 0.12, "not_proven"),
            "c": (-0.024, 0.214, 0.0004, "within_limit"),
        },
        unit="share",
        role="guardrail",
        direction="decrease",
        margin_relative=0.30,
    ),
    metric(
        "returns-14d",
        {"en": "Order return rate", "zh-CN": "订单退货率"},
        0.079,
        {
            "a": (0.025, 0.241, 0.015, "within_limit"),
            "b": (0.560, 0.241, 1.0, "broken"),
            "c": (-0.013, 0.241, 0.003, "within_limit"),
        },
        unit="share",
        role="guardrail",
        direction="decrease",
        margin_relative=0.30,
    ),
]


def curve(metric_name: str, variant: str, end: float, half: float, clear: int | None) -> Curve:
    points = [
        CurvePoint(
            day=1, date="2026-03-03", n=900, estimate=None, ci_low=None, ci_high=None, why="too few orders: 3 of 30"
        )
    ]
    for day in range(2, 29):
        wobble = math.sin(day * 1.7 + len(variant)) * half * 1.6 / day
        middle, reach = end + wobble, half * (28 / day) ** 0.75
        points.append(
            CurvePoint(
                day=day,
                date=f"2026-03-{day + 2:02d}",
                n=1_700 * day,
                estimate=middle,
                ci_low=middle - reach,
                ci_high=middle + reach,
            )
        )
    return Curve(metric=metric_name, variant=variant, axis="experiment_day", points=points, clear_from_day=clear)


def breakdown(attribute: str, levels: dict[str, tuple[int, float, float]]) -> Breakdown:
    rows = []
    for variant, tilt in (("a", 1.0), ("b", -0.9)):
        for level, (n, middle, half) in levels.items():
            small = n < 100
            rows.append(
                BreakdownRow(
                    level=level,
                    variant=variant,
                    n_control=n,
                    n=n,
                    effect=estimate(None, 0, why="too few outcomes: 3 of 30 needed")
                    if small
                    else estimate(middle * tilt, half),
                    relative=estimate(None if small else middle * tilt / 4.26, half / 4.26),
                    p_value=None if small else 0.01,
                    p_value_adjusted=None if small else 0.04,
                    why="too few outcomes: 3 of 30 needed" if small else None,
                )
            )
    return Breakdown(attribute=attribute, metric="profit-14d", rows=rows)


PLAN = Plan(
    title={
        "en": "Dormant win-back: which offer brings members back at a profit?",
        "zh-CN": "沉睡会员召回：哪种优惠既能唤回又能盈利？",
    },
    hypothesis={
        "en": "If we send dormant members an offer, more of them buy within 14 days, and the extra margin exceeds the "
        "cost of the offer.",
        "zh-CN": "向沉睡会员发放优惠后，14 天内下单人数增加，且增量毛利高于优惠成本。",
    },
    experiment="dormant-winback",
    revision=3,
    phase=1,
    state="ended",
    owner="Growth team",
    audience={"en": "Dormant, 91–180 days", "zh-CN": "沉睡，91–180 天"},
    enrolment="rolling",
    inference="always_valid",
    control="control",
    variants=[
        VariantInfo(key="control", name={"en": "No offer", "zh-CN": "不发优惠"}, weight=0.25, is_control=True),
        VariantInfo(
            key="a",
            name={"en": "¥20 off ¥100", "zh-CN": "满 100 减 20 券"},
            weight=0.25,
            offer="coupon-20-100",
            offer_name={"en": "¥20 off ¥100 coupon", "zh-CN": "满 100 减 20 券"},
        ),
        VariantInfo(key="b", name={"en": "15% off, cap ¥40", "zh-CN": "85 折（上限 ¥40）"}, weight=0.25, offer="p15"),
        VariantInfo(key="c", name={"en": "500 bonus points", "zh-CN": "赠 500 积分"}, weight=0.25, offer="pts"),
    ],
    currency="CNY",
    time_zone="Asia/Shanghai",
    started_at="2026-03-02T16:00:00Z",
    ended_at="2026-03-30T15:59:59Z",
    planned_units=195_000,
    planned_days=28,
)


def rule(code: str, en: str, zh: str, met: bool | None, actual: str, actual_zh: str | None = None) -> RuleResult:
    return RuleResult(
        code=code, label={"en": en, "zh-CN": zh}, met=met, actual={"en": actual, "zh-CN": actual_zh or actual}
    )


VERDICT = Verdict(
    code="roll_out",
    variant="a",
    sentence={
        "en": "Send the ¥20-off-¥100 coupon to dormant members. It earns ¥0.38 more profit per member (95% interval "
        "¥0.09 to ¥0.68) and brings back 18% more buyers.",
        "zh-CN": "建议向沉睡会员发放“满 100 减 20”券：人均利润增加 ¥0.38（95% 区间 ¥0.09 至 ¥0.68），"
        "复购人数增加 18%。",
    },
    reasons=[
        {
            "en": "Do not choose B for its conversion: 15% off brings back 23% more buyers but loses ¥0.35 per member.",
            "zh-CN": "不要因转化率选择 B：85 折带回的买家多 23%，但每位会员亏损 ¥0.35。",
        },
        {
            "en": "C shows no measurable change in profit. An effect beyond ±7% would have been seen.",
            "zh-CN": "C 的利润没有可测变化。若影响超过 ±7%，本实验应已检出。",
        },
    ],
    rules=[
        rule("primary", "Profit per member is higher", "会员人均利润提升", True, "+9.0%"),
        rule("guard", "Unsubscribes stay under +30%", "退订率上升低于 30%", True, "at most +26%", "至多 +26%"),
        rule("sample", "Planned sample reached", "达到计划样本量", True, "195,794"),
        rule("weeks", "Four full weeks observed", "覆盖完整 4 周", True, "28 of 28 days", "28/28 天"),
        rule("srm", "Traffic split as designed", "流量比例符合设计", True, "p 0.95"),
    ],
)


def check(code: str, status: str, en: str, zh: str, value: str, value_zh: str, detail: str = "") -> Check:
    return Check(
        code=code,
        status=status,  # type: ignore[arg-type]
        label={"en": en, "zh-CN": zh},
        value={"en": value, "zh-CN": value_zh},
        detail={"en": detail} if detail else {},
    )


CHECKS = [
    check("srm", "ok", "Traffic split (SRM)", "流量比例 (SRM)", "Balanced", "均衡", "χ² p 0.95"),
    check("sample", "ok", "Members", "会员数", "195,794", "195,794", "195,000"),
    check("contaminated", "ok", "In two variants", "重复分组", "0.02%", "0.02%"),
    check("balance", "caution", "Pre-period balance", "实验前均衡性", "1 of 9 beyond 0.02 sd", "9 项中 1 项超出"),
    check("completeness", "ok", "Outcome data", "结果数据", "Complete", "完整", "30 Mar"),
    check("novelty", "info", "Novelty", "新奇效应", "Not seen", "未发现"),
]


def figure(middle: float | None, half: float = 0.0, *, why: str | None = None) -> Figure:
    if middle is None:
        return Figure(estimate=None, ci_low=None, ci_high=None, why=why)
    return Figure(estimate=middle, ci_low=middle - half, ci_high=middle + half)


def offer(
    variant: str, buyers: float, margin: float, cost: float, half: float, sure: float, reading: str, **more: Any
) -> OfferEconomics:
    """One offer's money; ``half`` is half the width of the profit's interval."""
    units, profit = UNITS[variant], margin - cost
    after = AfterWindow(
        units=units // 2,
        from_day=14,
        to_day=28,
        within=figure(profit / units, half / units),
        after=figure(-0.04, 0.03),
        net=figure(profit / units - 0.04, half / units),
        given_back=figure(0.1, 0.1),
    )
    values: dict[str, Any] = {
        "variant": variant,
        "units": units,
        "extra_buyers": figure(buyers, 200),
        "extra_margin": figure(margin, half),
        "cost": cost,
        "redemption_cost": cost - units / 10,
        "contact_cost": units / 10,
        "redemptions": round(cost / 20),
        "redeemed": cost / 20 / units,
        "profit": figure(profit, half),
        "roi": figure(profit / cost, half / cost),
        "naive_roi": 1.9,
        "cost_per_extra_buyer": figure(cost / buyers, 9.0),
        "sure_buyers": figure(sure, 0.1),
        "order_value": 152.9,
        "order_value_change": figure(-3.5, 8.0),
        "order_margin": 51.7,
        "order_margin_change": figure(-2.0, 4.0),
        "order_kept": 38.4,
        "uplift": figure(buyers / units, 0.004),
        "break_even": 0.0088,
        "after": after,
        "reading": reading,
    }
    return OfferEconomics(**(values | more))


OFFERS = [
    offer("a", 568, 44_480, 25_669, 14_600, 0.52, "better"),
    offer("b", 731, 37_805, 55_114, 14_600, 0.62, "worse", break_even=None),
    offer(
        "c",
        142,
        6_547,
        6_645,
        14_600,
        -0.2,
        "unclear",
        cost_per_extra_buyer=figure(None, why="extra buyers cannot be told from none"),
        after=None,
    ),
]
ECONOMICS = Economics(
    metric="profit-14d",
    window_days=14,
    control_order_value=158.4,
    control_order_margin=54.1,
    offers=OFFERS,
    sentences=sentences_of(OFFERS, PLAN),
    notes=notes_of(OFFERS, PLAN, winsorised_at=0.995),
)

REPORT = Report(
    plan=PLAN,
    srm=Srm(p_value=0.95, observed=dict(UNITS), expected=dict.fromkeys(UNITS, 48_948.5), status="ok"),
    contaminated=41,
    duplicates=12,
    population=Population(
        kind="assigned",
        assigned=195_912,
        exposed=181_204,
        analysed=195_794,
        left_out={"override": 8, "contaminated": 41, "opted_out": 69},
        immature=1_204,
    ),
    checks=CHECKS,
    metrics=METRICS,
    verdict=VERDICT,
    curves=[
        curve("profit-14d", "a", 0.38, 0.30, 21),
        curve("profit-14d", "b", -0.35, 0.30, 10),
        curve("profit-14d", "c", 0.0, 0.30, None),
        curve("repurchase-14d", "a", 0.0116, 0.0049, 6),
        curve("repurchase-14d", "b", 0.0149, 0.0049, 5),
        curve("repurchase-14d", "c", 0.0029, 0.0049, None),
    ],
    economics=ECONOMICS,
    breakdowns=[
        breakdown(
            "days since last order",
            {"91–120": (21_480, 0.71, 0.4), "121–150": (16_020, 0.29, 0.44), "151–180": (11_487, -0.06, 0.55)},
        ),
        breakdown("tier", {"Gold": (7_310, 0.92, 0.7), "Silver": (15_904, 0.41, 0.5), "Black": (12, 0.2, 1.0)}),
    ],
    warnings=[
        {
            "en": "1,204 members entered less than 14 days before the data time; they count with what is known so far.",
            "zh-CN": "1,204 名会员入组不足 14 天，仅按已有结果计入。",
        }
    ],
    methods=[
        {
            "en": "Intervals are 95% confidence sequences (normal mixture), so they remain valid at every look.",
            "zh-CN": "区间为 95% 置信序列（正态混合），任意时刻查看均有效。",
        },
        {
            "en": "p-values are adjusted by Holm; for guardrails, p tests “stays under the limit”.",
            "zh-CN": "p 值按三个方案做 Holm 校正；护栏指标的 p 值检验“未越界”。",
        },
    ],
    data_time="2026-03-30T22:10:00Z",
    software="Equipoise 0.1.0",
    content_hash="3f1c" * 16,
)


def broken_split() -> Report:
    """A report whose split check fails: every effect is there but must not be read."""
    why = "SRM: members are not split as designed"
    metrics = [
        msgspec.structs.replace(
            m, comparisons=[msgspec.structs.replace(c, readable=False, why=why) for c in m.comparisons]
        )
        for m in METRICS
    ]
    observed = {"control": 52_911, "a": 46_987, "b": 47_034, "c": 48_862}
    return msgspec.structs.replace(
        REPORT,
        plan=msgspec.structs.replace(PLAN, experiment="loyal-early-access", state="running", ended_at=None),
        srm=Srm(p_value=1e-40, observed=observed, expected=dict.fromkeys(UNITS, 48_948.5), status="fail"),
        checks=[
            check("srm", "fail", "Traffic split (SRM)", "流量比例 (SRM)", "Off", "异常", "χ² p <0.001"),
            *CHECKS[1:],
        ],
        metrics=metrics,
        verdict=Verdict(
            code="do_not_read",
            variant=None,
            sentence={
                "en": "Do not read the effects: control received 8% more members than designed.",
                "zh-CN": "请勿解读效果：对照组的会员比设计多 8%。",
            },
            reasons=[{"en": "Look for a variant that loses members.", "zh-CN": "请检查哪个方案丢失了会员。"}],
            rules=[rule("srm", "Traffic split as designed", "流量比例符合设计", False, "p <0.001")],
        ),
    )


def nasty() -> Report:
    """Nulls with their reasons, and strings that must not break out of the page; English only, no currency."""
    nothing = estimate(None, 0, why=NASTY)
    broken = MetricResult(
        name=NASTY,
        label={"en": NASTY},
        kind="mean",
        role="primary",
        direction="increase",
        unit="number",
        control="control",
        variants=[
            VariantSummary(variant="control", n=0, mean=None, std_error=None, why="no members"),
            VariantSummary(variant=NASTY, n=3, mean=12345.678, std_error=None, why="one row"),
        ],
        comparisons=[
            Comparison(
                variant=NASTY,
                effect=nothing,
                relative=nothing,
                total=None,
                p_value=None,
                p_value_adjusted=None,
                reading="not_computed",
                readable=True,
                why=NASTY,
                method="welch",
            )
        ],
        description={"en": NASTY},
    )
    half_open = msgspec.structs.replace(
        METRICS[1],
        comparisons=[
            msgspec.structs.replace(
                METRICS[1].comparisons[0],
                variant=NASTY,
                relative=Estimate(
                    estimate=0.2, ci_low=0.01, ci_high=None, ci_low_adjusted=None, ci_high_adjusted=None, why="x"
                ),
                total=None,
            )
        ],
    )
    none = figure(None, why=NASTY)
    figures = [name for name in OFFERS[0].__struct_fields__ if isinstance(getattr(OFFERS[0], name), Figure)]
    unknown = [name for name in OFFERS[0].__struct_fields__ if isinstance(getattr(OFFERS[0], name), float)]
    unpaid = msgspec.structs.replace(
        OFFERS[0], variant=NASTY, after=None, reading="not_computed", **dict.fromkeys(figures, none)
    )
    unpaid = msgspec.structs.replace(unpaid, **dict.fromkeys(unknown))
    plan = Plan(
        title={"en": NASTY},
        hypothesis={"en": NASTY},
        source=NASTY,
        owner=NASTY,
        audience={"en": NASTY},
        control="control",
        variants=[
            VariantInfo(key="control", name={}, weight=0.5, is_control=True),
            VariantInfo(key=NASTY, name={"en": NASTY}, weight=0.5, offer=NASTY, offer_name={"en": NASTY}),
        ],
    )
    return Report(
        plan=plan,
        srm=Srm(p_value=None, observed={"control": 0, NASTY: 3}, expected={}, status="info", why=NASTY),
        contaminated=1,
        duplicates=2,
        population=Population(
            kind="exposed", assigned=3, exposed=3, analysed=3, left_out={NASTY: 1, "missing": 2}, immature=0
        ),
        checks=[check("x", "caution", NASTY, NASTY, NASTY, NASTY, NASTY)],
        metrics=[broken, half_open],
        verdict=Verdict(
            code="keep_running",
            variant=None,
            sentence={"en": NASTY},
            reasons=[{"en": NASTY}],
            rules=[rule("x", NASTY, NASTY, None, NASTY)],
        ),
        curves=[
            Curve(
                metric=NASTY,
                variant=NASTY,
                axis="member_day",
                points=[CurvePoint(day=1, date=None, n=1, estimate=None, ci_low=None, ci_high=None, why=NASTY)],
                clear_from_day=None,
            )
        ],
        economics=Economics(
            metric=NASTY,
            window_days=None,
            control_order_value=None,
            control_order_margin=None,
            offers=[unpaid],
            sentences=[{"en": NASTY}],
            notes=[{"en": NASTY}],
        ),
        breakdowns=[
            Breakdown(
                attribute=NASTY,
                metric=NASTY,
                rows=[
                    BreakdownRow(
                        level=NASTY,
                        variant=NASTY,
                        n_control=0,
                        n=0,
                        effect=nothing,
                        relative=nothing,
                        p_value=None,
                        p_value_adjusted=None,
                        why=NASTY,
                    )
                ],
            )
        ],
        warnings=[{"en": NASTY}],
        methods=[{"en": NASTY}],
        software=NASTY,
        content_hash="",
    )


def empty() -> Report:
    """A report of a running experiment that nobody has entered yet."""
    return msgspec.structs.replace(
        REPORT,
        plan=msgspec.structs.replace(PLAN, state="running", ended_at=None, experiment="no-data"),
        srm=Srm(p_value=None, observed={}, expected={}, status="info", why="no members yet"),
        population=Population(kind="assigned", assigned=0, exposed=None, analysed=0, left_out={}, immature=0),
        checks=[],
        metrics=[],
        verdict=None,
        curves=[],
        breakdowns=[],
        warnings=[],
        contaminated=0,
        duplicates=0,
        data_time=None,
    )


def list_rows() -> list[ExperimentListRow]:
    """A list with one experiment of every kind."""
    running = msgspec.structs.replace(
        REPORT,
        plan=msgspec.structs.replace(PLAN, experiment="active-free-shipping", state="running", ended_at=None),
        metrics=[
            metric(
                "profit-14d",
                {"en": "Profit per member", "zh-CN": "会员人均利润"},
                4.26,
                {"a": (0.019, 0.04, 0.6, "unclear")},
            )
        ],
        verdict=Verdict(
            code="keep_running",
            variant=None,
            sentence={"en": "Keep running, about 12 more days.", "zh-CN": "继续运行，约需 12 天。"},
            reasons=[],
            rules=[],
        ),
    )
    return [
        list_row(
            key="dormant-winback",
            title=PLAN.title,
            state="ended",
            report=REPORT,
            day=28,
            planned_days=28,
        ),
        list_row(
            key="loyal-early-access",
            title={"en": "Loyal tier: early access vs 5% off", "zh-CN": "忠诚会员：优先购与 95 折"},
            state="running",
            report=broken_split(),
            audience={"en": "Loyal", "zh-CN": "忠诚"},
            owner="CRM team",
            day=9,
            planned_days=21,
        ),
        list_row(
            key="active-free-shipping",
            title={"en": "Active: free-shipping threshold ¥99 → ¥79", "zh-CN": "活跃会员：包邮门槛 ¥99 → ¥79"},
            state="running",
            report=running,
            audience={"en": "Active", "zh-CN": "活跃"},
            owner="Loyalty team",
            day=16,
            planned_days=28,
        ),
        list_row(
            key="second-order-nudge",
            title={"en": "New members: second-order nudge", "zh-CN": "新客：二单提醒"},
            state="draft",
            audience={"en": "New", "zh-CN": "新客"},
            variants=4,
            owner="增长团队",
            planned_days=21,
            next_step={"en": "Needs sample size", "zh-CN": "缺少样本量"},
        ),
        list_row(
            key="subject-line",
            title={"en": "Subject line with first name"},
            state="decided",
            variants=2,
            units=140_552,
            day=14,
            planned_days=14,
            owner="Loyalty team",
        ),
    ]
