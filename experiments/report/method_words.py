"""How a report's figures were made, in English and Chinese: a sentence a method, only of those that were used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.report.document import MetricResult, Plan, Text
from experiments.report.words import METHODS

SPENDING: dict[str, Text] = {
    "obrien_fleming": {"en": "O'Brien–Fleming type", "zh-CN": "O'Brien–Fleming 型"},
    "pocock": {"en": "Pocock type", "zh-CN": "Pocock 型"},
    "hwang_shih_decani": {"en": "Hwang–Shih–DeCani", "zh-CN": "Hwang–Shih–DeCani"},
}
_FAMILY: dict[str, Text] = {
    "holm": {
        "en": "p and intervals of decision metrics are adjusted over metrics and variants (Holm)",
        "zh-CN": "决策指标的 p 值与区间对全部指标和方案做 Holm 校正",
    },
    "hochberg": {
        "en": "p of decision metrics are adjusted over metrics and variants (Hochberg), intervals by Bonferroni",
        "zh-CN": "决策指标的 p 值对全部指标和方案做 Hochberg 校正，区间按 Bonferroni 校正",
    },
    "benjamini_hochberg": {
        "en": "p of decision metrics bound the share of false discoveries over metrics and variants "
        "(Benjamini–Hochberg), their intervals the share that misses (false coverage rate)",
        "zh-CN": "决策指标的 p 值控制全部指标和方案中的错误发现率（Benjamini–Hochberg），区间控制错误覆盖率",
    },
    "dunnett": {
        "en": "p and intervals of decision metrics are adjusted over the variants of each metric, which share control "
        "(Dunnett), and over metrics (Bonferroni)",
        "zh-CN": "决策指标的 p 值与区间在每个指标内对共用对照组的各方案做 Dunnett 校正，指标之间做 Bonferroni 校正",
    },
    "none": {
        "en": "p and intervals are not adjusted for the number of metrics and variants, as declared",
        "zh-CN": "按声明，p 值与区间未对指标和方案的数量做校正",
    },
}


EXACT = frozenset({"two_proportions", "welch"})
"""Methods of tests that are read once: looked at early, only estimates and their errors count."""

UNLOOKED = frozenset({"quantile", "restricted_mean", "clusters_cr2"})
"""Methods whose past looks cannot be computed again from sums by day."""
WITHOUT_LOOKS: Text = {
    "en": "Quantiles, waiting times and clustered metrics have no looks: they are judged on all members that are in, "
    "by a band that stays valid however often it is looked at, narrowest at the planned sample.",
    "zh-CN": "分位数、等待时间与群组指标没有逐次查看：按全部已进组会员计算，用任意时刻查看均有效的区间判断，"
    "该区间在计划样本处最窄。",
}
KNOWN_NOW: Text = {
    "en": "Past looks are computed again from what is known now: an outcome that arrives late, a refund or a member "
    "left out since moves them too, and kept reports tell what was known then.",
    "zh-CN": "以往各次查看均按目前已知的数据重新计算：迟到的结果、退款或其后剔除的会员也会改变它们；"
    "当时所知以已保存的报告为准。",
}
ONE_LOOK: Text = {
    "en": "{what} are read as at one look, without paying for looking early: small p there are hints, not proofs.",
    "zh-CN": "{what}按只查看一次计算，未计入提前查看的代价：其中较小的 p 值仅为线索，不是证明。",
}
_READ_ONCE: dict[str, Text] = {
    "pooled": {"en": "pooled waves", "zh-CN": "合并批次"},
    "reached": {"en": "effects on those reached", "zh-CN": "对触达者的效果"},
    "factorial": {"en": "factors", "zh-CN": "因素"},
    "overlaps": {"en": "interactions with other experiments", "zh-CN": "与其他实验的交互"},
    "breakdowns": {"en": "interactions with attributes", "zh-CN": "与属性的交互"},
}
NOT_STRATIFIED: Text = {
    "en": "Within groups and on those reached, effects are not stratified.",
    "zh-CN": "分组效果与对触达者的效果未做分层。",
}


def section_methods(sections: Mapping[str, Sequence[object]], plan: Plan) -> list[Text]:
    """Say where a report's sections do not do what its scorecard does.

    Args:
        sections: what there is, by name in the document.
        plan: how the scorecard is judged.
    """
    found = [text for name, text in _READ_ONCE.items() if sections.get(name)]
    if plan.inference == "bayesian":  # whose groups have no p
        found = [text for text in found if text is not _READ_ONCE["breakdowns"]]
    methods: list[Text] = []
    if plan.inference != "fixed" and found:
        english, chinese = ", ".join(t["en"] for t in found), "、".join(t["zh-CN"] for t in found)
        english = english[0].upper() + english[1:]
        methods.append({"en": ONE_LOOK["en"].format(what=english), "zh-CN": ONE_LOOK["zh-CN"].format(what=chinese)})
    if plan.strata and (sections.get("breakdowns") or sections.get("reached")):
        methods.append(NOT_STRATIFIED)
    return methods


MONEY: Text = {
    "en": "Money of offers: costs count when a coupon is redeemed and when a member is contacted; margin is profit "
    "plus cost; returns and shares have Fieller intervals, as many standard errors wide as the profit's.",
    "zh-CN": "优惠的金额：成本在核销与触达时计入；毛利为利润加成本；回报率与占比采用 Fieller 区间，"
    "宽度与利润区间的标准误倍数相同。",
}


def log_methods(metrics: list[MetricResult], plan: Plan) -> list[Text]:
    """Say how the figures of an experiment were made."""
    early = plan.inference != "fixed"
    methods = inference_methods(plan)
    used = dict.fromkeys(c.method for m in metrics for c in m.comparisons)
    methods += [METHODS[name] for name in used if name in METHODS and not (early and name in EXACT)]
    if plan.inference == "group_sequential":
        methods += [WITHOUT_LOOKS] * bool(UNLOOKED & set(used)) + [KNOWN_NOW]
    methods += family_methods(metrics, plan)
    methods.append(
        {
            "en": "An order counts once, in its latest state, whatever the source; refunds and cancellations are "
            "reversed.",
            "zh-CN": "每笔订单不论来自哪个渠道，只按最新状态计一次；退款与取消已冲减。",
        }
    )
    return methods


def inference_methods(plan: Plan) -> list[Text]:
    """Say what intervals mean under the plan's kind of inference."""
    level = f"{100 * (1 - plan.alpha):g}%"
    if plan.inference == "always_valid":
        return [
            {
                "en": f"Intervals are {level} confidence sequences (normal mixture): they stay valid at every look.",
                "zh-CN": f"区间为 {level} 置信序列（正态混合），任意时刻查看均有效。",
            }
        ]
    if plan.inference == "bayesian":
        return [
            {
                "en": f"Intervals hold the effect with {level} probability, given the prior and the data; an effect is "
                "better or worse where its interval excludes zero. Nothing is adjusted for the number of comparisons: "
                "the prior does that.",
                "zh-CN": f"在给定先验与数据下，效果以 {level} 的概率落在区间内；区间不含零时判为更好或更差。"
                "不对比较次数另作校正，由先验承担。",
            },
            *([plan.prior] if plan.prior else []),
        ]
    if plan.inference == "group_sequential" and plan.sequential is not None:
        return _sequential_methods(plan, level)
    return []


def _sequential_methods(plan: Plan, level: str) -> list[Text]:
    found = plan.sequential
    if found is None:
        return []
    name = SPENDING.get(found.spending, {"en": found.spending, "zh-CN": found.spending})
    methods: list[Text] = [
        {
            "en": f"Group sequential: looks are the ends of days, on units whose outcome windows are over; alpha is "
            f"spent up to {found.planned_units:,} planned ones (Lan–DeMets, {name['en']}). Intervals are {level} "
            "repeated confidence intervals, valid whether the test stops or goes on.",
            "zh-CN": "成组序贯：每天结束时查看一次，只计观察窗口已结束的单元；"
            f"显著性水平按计划的 {found.planned_units:,} 个单元分配（Lan–DeMets，{name['zh-CN']}）。"
            f"区间为 {level} 重复置信区间，停止或继续均有效。",
        }
    ]
    if found.reserve:
        share = f"{100 * found.reserve:g}%"
        methods.append(
            {
                "en": f"{share} of alpha is kept for looks past the plan.",
                "zh-CN": f"显著性水平的 {share} 留给计划样本之后的查看。",
            }
        )
    if found.futility_power is not None:
        power = f"{100 * found.futility_power:g}%"
        methods.append(
            {
                "en": f"The futility bound spends the chance of missing the planned effect (power {power}); it is a "
                "help, not a rule: going on past it breaks nothing.",
                "zh-CN": f"无望界限按错过计划效果的概率分配（功效 {power}）；"
                "它只是提示而非规则，越过后继续实验不影响有效性。",
            }
        )
    return methods


def family_methods(metrics: Sequence[MetricResult], plan: Plan) -> list[Text]:
    """Say which comparisons are judged together, and what a guardrail's p is."""
    methods: list[Text] = []
    roles = {m.role for m in metrics}
    if plan.inference != "bayesian":
        adjusted = dict(_FAMILY.get(plan.multiplicity, _FAMILY["holm"]))
        if "secondary" in roles and plan.multiplicity != "none":
            adjusted = {
                "en": adjusted["en"] + ", so are those of secondary metrics",
                "zh-CN": adjusted["zh-CN"] + "，次要指标同样处理",
            }
        methods.append({"en": adjusted["en"] + ".", "zh-CN": adjusted["zh-CN"] + "。"})
    if "guardrail" in roles and plan.inference != "bayesian":
        methods.append(
            {
                "en": "A guardrail's p is that of its limit being broken: small proves that the limit is kept.",
                "zh-CN": "护栏指标的 p 值检验“已越界”这一假设：p 值小，即证明未越界。",
            }
        )
    if "guardrail" in roles and plan.inference == "bayesian":
        methods.append(
            {
                "en": "A guardrail is within its limit where its whole interval is.",
                "zh-CN": "护栏指标的整个区间都在界限以内时，判为未越界。",
            }
        )
    return methods
