"""The sentences of a plan, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.planning.document import Baseline, Row
from experiments.planning.question import Question
from experiments.report.document import Text

INFERENCES: dict[str, Text] = {
    "fixed": {"en": "one look at the end", "zh-CN": "期末一次查看"},
    "group_sequential": {"en": "group sequential", "zh-CN": "成组序贯"},
    "always_valid": {"en": "always-valid", "zh-CN": "任意时刻有效"},
}
SPENDINGS = {
    "obrien_fleming": "O'Brien–Fleming",
    "pocock": "Pocock",
    "hwang_shih_decani": "Hwang–Shih–DeCani",
    "power": "alpha · t^gamma",
}
WHYS: dict[str, str] = {
    "no number of units is enough": "再多单元也不够",
    "too few units: not even the largest possible effect would be found": "单元太少：即使最大可能的效果也检不出",
    "this many units never come at that pace": "按此速度永远达不到所需单元数",
    "the offer costs the whole margin or more: no uplift pays for it": "优惠成本不低于订单毛利：任何提升都无法回本",
}


def why_text(why: str | None, lang: str) -> str:
    """Return a reason in a language.

    >>> why_text("no number of units is enough", "zh-CN")
    '再多单元也不够'
    """
    return WHYS.get(why or "", why or "") if lang.startswith("zh") else why or ""


def notes_of(baseline: Baseline, question: Question, rows: Sequence[Row]) -> list[Text]:
    """Say what the reader should bear in mind."""
    notes: list[Text] = []
    if question.cluster_size is not None:
        notes.append(
            {
                "en": "Whole clusters get one variant; declare analysis.cluster and randomised_by_cluster.",
                "zh-CN": "同一群组整体进入同一方案；请声明 analysis.cluster 和 randomised_by_cluster。",
            }
        )
    if any(row.exact for row in rows):
        notes.append(
            {
                "en": "Outcomes are rare: rows marked * went through every possible result instead of using a formula.",
                "zh-CN": "结果稀少：带 * 的行逐一枚举了所有可能结果，而非套用公式。",
            }
        )
    if baseline.kind == "mean" and baseline.sd is not None and baseline.mean and baseline.sd > 10 * abs(baseline.mean):
        notes.append(
            {
                "en": "The amounts are very uneven (standard deviation over ten times the mean): winsorise the metric.",
                "zh-CN": "金额极不均匀（标准差超过均值的十倍）：建议对该指标做缩尾处理。",
            }
        )
    if question.inference != "fixed" and question.margin is not None:
        notes.append(
            {
                "en": "Which margin is provable week by week is not computed for watched tests.",
                "zh-CN": "持续查看的实验不计算每周可证明的界限。",
            }
        )
    return notes


def methods_of(baseline: Baseline, question: Question, exact: bool) -> list[Text]:
    """Say how the figures were made."""
    methods: list[Text] = []
    if baseline.kind == "proportion" and question.margin is not None:
        methods.append(
            {"en": "Proportions: score test at the margin (Farrington–Manning).", "zh-CN": "比例：界限处的得分检验。"}
        )
    elif baseline.kind == "proportion":
        methods.append({"en": "Proportions: pooled z test.", "zh-CN": "比例：合并方差 z 检验。"})
        if exact:
            methods.append(
                {
                    "en": "Rare outcomes: enumeration with the exact p of reports.",
                    "zh-CN": "稀少结果：按报告的精确 p 值枚举。",
                }
            )
    elif baseline.kind == "ratio":
        methods.append({"en": "Ratios: delta method over units.", "zh-CN": "比率：以单元为单位的 delta 方法。"})
    else:
        methods.append({"en": "Means: Welch's t test.", "zh-CN": "均值：Welch t 检验。"})
    if baseline.reduction:
        share = f"{100 * baseline.reduction:.0f}%"
        methods.append(
            {
                "en": f"What is known from before the test removes {share} of the variance (CUPED).",
                "zh-CN": f"实验前的信息可消除 {share} 的方差（CUPED）。",
            }
        )
    comparisons = (len(question.split) - 1) * question.metrics
    if comparisons > 1 and question.margin is None and question.multiplicity != "none":
        methods.append(
            {
                "en": f"{comparisons} comparisons share alpha: each is planned at {question.level:.4g}.",
                "zh-CN": f"{comparisons} 个比较共享 α：每个按 {question.level:.4g} 规划。",
            }
        )
    if question.guardrails:
        guardrails = "1 guardrail" if question.guardrails == 1 else f"{question.guardrails} guardrails"
        methods.append(
            {
                "en": f"A roll-out waits for {guardrails} too: each test is planned with "
                f"{100 * question.power_each:.1f} % power.",
                "zh-CN": f"全量还需 {question.guardrails} 个护栏指标通过："
                f"每个检验按 {100 * question.power_each:.1f}% 功效规划。",
            }
        )
    spending = SPENDINGS[question.spending.kind]
    if question.inference == "group_sequential":
        methods.append(
            {
                "en": f"Group sequential, {question.looks} evenly spaced looks (Lan–DeMets, {spending}).",
                "zh-CN": f"成组序贯，{question.looks} 次等距查看（Lan–DeMets，{spending}）。",
            }
        )
    elif question.inference == "always_valid":
        methods.append(
            {
                "en": f"Always-valid normal mixture, {question.looks} looks up to the planned units.",
                "zh-CN": f"任意时刻有效的正态混合，计划样本内 {question.looks} 次查看。",
            }
        )
    if question.waves > 1:
        methods.append(
            {
                "en": f"{question.waves} waves pooled by random effects.",
                "zh-CN": f"{question.waves} 个批次按随机效应合并。",
            }
        )
    return methods
