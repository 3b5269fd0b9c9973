"""The sentences of a file's report that only some analyses have, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.analyze.options import AnalyzeOptions
from experiments.report.document import MetricResult, Plan, Text
from experiments.report.method_words import EXACT, SPENDING, family_methods, inference_methods
from experiments.report.words import METHODS, file_methods, say

IN_A_FILE: dict[str, Text] = {
    "restricted_mean": {
        "en": "Times: mean days without the event up to the horizon (area under the Kaplan–Meier curve); units "
        "followed for less are censored then.",
        "zh-CN": "时间：截至期末尚未发生事件的平均天数（Kaplan–Meier 曲线下面积）；"
        "观察时间更短的单元在其最后时刻删失。",
    },
    "quantile": {
        "en": "Quantiles: intervals between order statistics, differences by MOVER.",
        "zh-CN": "分位数：由次序统计量得到区间，差值用 MOVER。",
    },
}
"""Methods that a file's report words in another way than the log's."""

UNLOOKED = frozenset({"quantile", "restricted_mean", "clusters_cr2"})
"""Methods that no looks are known of."""


def guardrail_sentences(metrics: Sequence[MetricResult], plan: Plan) -> list[Text]:
    """Say, a sentence for each variant, whether it keeps the limits of its guardrails."""
    said: list[Text] = []
    guardrails = [m for m in metrics if m.role == "guardrail"]
    for variant in (v.key for v in plan.variants if not v.is_control):
        readings = [(m, c.reading) for m in guardrails for c in m.comparisons if c.variant == variant and c.readable]

        def named(reading: str, lang: str, readings: Sequence[tuple[MetricResult, str]] = readings) -> str:
            listed = [say(m.label, lang) for m, found in readings if found == reading]
            return ("、" if lang == "zh-CN" else ", ").join(listed)

        for reading, en, zh in (
            ("broken", "{v} breaks its limit: {m}.", "{v} 越过界限：{m}。"),
            ("not_proven", "It is not proven that {v} keeps its limit: {m}.", "{v} 未越界尚未得到证明：{m}。"),
            ("within_limit", "{v} keeps within its limit: {m}.", "{v} 未越界：{m}。"),
        ):
            if named(reading, "en"):
                said.append(
                    {
                        "en": en.format(v=variant, m=named(reading, "en")),
                        "zh-CN": zh.format(v=variant, m=named(reading, "zh-CN")),
                    }
                )
    return said


def methods_of(metrics: list[MetricResult], plan: Plan, options: AnalyzeOptions, *, by_cluster: bool) -> list[Text]:
    """Say how the figures of a file were made."""
    plain = plan.inference == "fixed" and plan.multiplicity == "holm" and all(m.role == "primary" for m in metrics)
    if plain:
        methods = [
            next((IN_A_FILE[name] for name in IN_A_FILE if METHODS[name] == text), text)
            for text in file_methods(metrics, options.alpha, bool(options.breakdowns))
        ]
    else:
        methods = _other_methods(metrics, plan, options)
    if by_cluster:
        methods.append(
            {
                "en": "The split check counts clusters, which were given the variants, not units.",
                "zh-CN": "流量比例检查按群组计数，因为分配方案的是群组而不是单元。",
            }
        )
    if plan.design == "factorial":
        methods.append(
            {
                "en": "Factors: each one's effect averaged over the others' levels, with HC2 errors, adjusted over the "
                "terms of a metric (Holm).",
                "zh-CN": "因素：每个因素的效果为其他因素各水平上的平均，误差用 HC2，在同一指标的各项内做 Holm 校正。",
            }
        )
    if options.reached is not None:
        methods.append(
            {
                "en": f"Effect on those reached ({options.reached}): the effect per unit that the offer reached, "
                "instrumented by the variant (CACE, two-stage least squares); for those not reached it is taken to "
                "be none.",
                "zh-CN": f"对触达者的效果（{options.reached}）：以方案为工具变量（CACE，两阶段最小二乘）"
                "估计每个触达单元的效果；假定未触达者没有效果。",
            }
        )
    if options.wave is not None:
        methods.append(
            {
                "en": "Waves are pooled by random effects (Paule–Mandel), with Hartung–Knapp intervals.",
                "zh-CN": "各批次用随机效应合并（Paule–Mandel），区间用 Hartung–Knapp 方法。",
            }
        )
    if any(m.winsorised_at is not None for m in metrics):
        cut = [m for m in metrics if m.winsorised_at is not None]
        listed = {lang: ", ".join(f"{say(m.label, lang)} {m.winsorised_at:g}" for m in cut) for lang in ("en", "zh-CN")}
        methods.append(
            {
                "en": f"Winsorised: larger values count as this quantile over all variants together ({listed['en']}).",
                "zh-CN": f"缩尾：更大的值按全部方案合并后的该分位数计（{listed['zh-CN']}）。",
            }
        )
    return methods


def _other_methods(metrics: list[MetricResult], plan: Plan, options: AnalyzeOptions) -> list[Text]:
    early = plan.inference != "fixed"
    sequential = plan.inference == "group_sequential"
    methods = _looks(plan, dated=options.looks is None) if sequential else inference_methods(plan)
    used = dict.fromkeys(c.method for m in metrics for c in m.comparisons)
    texts = {**METHODS, **IN_A_FILE}
    methods = [*methods, *(texts[name] for name in used if name in texts and not (early and name in EXACT))]
    if sequential and UNLOOKED & set(used):
        methods.append(
            {
                "en": "Quantiles, times and clusters, whose earlier looks sums do not tell, have an always-valid band "
                "in place of the bounds, narrowest at the plan.",
                "zh-CN": "分位数、时间与群组无法由合计值重现更早的查看，改用任意时刻有效的区间（在计划样本处最窄）。",
            }
        )
    methods += family_methods(metrics, plan)
    if options.breakdowns:
        methods.append(
            {
                "en": "Breakdowns are exploratory, not declared before the test.",
                "zh-CN": "细分结果仅供探索，并非事先声明。",
            }
        )
    return methods


def _looks(plan: Plan, *, dated: bool) -> list[Text]:
    found = plan.sequential
    if found is None:
        return []
    level, name = f"{100 * (1 - plan.alpha):g}%", SPENDING["obrien_fleming"]
    spent = {
        "en": f"alpha is spent up to {found.planned_units:,} planned units (Lan–DeMets, {name['en']}). Intervals are "
        f"{level} repeated confidence intervals",
        "zh-CN": f"显著性水平在计划的 {found.planned_units:,} 个单元内逐次分配（Lan–DeMets，{name['zh-CN']}）。"
        f"区间为 {level} 重复置信区间",
    }
    if dated:
        return [
            {
                "en": f"Group sequential: looks are the ends of the days on which units entered; {spent['en']}, valid "
                "whether the test stops or goes on. Outcomes are taken to be complete at the end of the day.",
                "zh-CN": f"成组序贯：单元进组各日结束时查看一次；{spent['zh-CN']}，停止或继续均有效。"
                "视各单元的结果在当日结束时已完整。",
            }
        ]
    return [
        {
            "en": f"Group sequential: the file is the last of the looks that were declared; {spent['en']} at the last "
            "look. Whether an earlier one crossed its bound the file does not show.",
            "zh-CN": f"成组序贯：文件为所声明的各次查看中的最后一次；{spent['zh-CN']}（最后一次查看）。"
            "文件不含更早各次的数据，无从得知当时是否越过界限。",
        }
    ]


def file_specific_warnings(outside_waves: int, planned: int | None, units: int) -> list[Text]:
    """Say what waves and plans leave out.

    Args:
        outside_waves: units without a wave.
        planned: units of the plan, where the test went past it and stands as it was when it was reached.
        units: in the figures then.
    """
    said: list[Text] = []
    if outside_waves:
        said.append(
            {
                "en": f"{outside_waves:,} units belong to no wave: they count above, not among the waves.",
                "zh-CN": f"{outside_waves:,} 个单元不属于任何批次：计入上方结果，但不计入各批次。",
            }
        )
    if planned is not None:
        said.append(
            {
                "en": f"More units than the {planned:,} planned are in the file. The figures stay as they were when "
                f"the plan was reached, with {units:,}: looking further was not planned for.",
                "zh-CN": f"文件中的单元多于计划的 {planned:,} 个。数值保持在达到计划时（{units:,} 个）的结果："
                "计划中没有为之后的查看预留显著性水平。",
            }
        )
    return said
