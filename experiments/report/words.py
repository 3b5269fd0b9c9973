"""The sentences of a report, in English and Chinese: whole sentences with figures filled in, never fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.report import figures
from experiments.report.document import Comparison, MetricResult, Plan, Srm, Text
from experiments.report.looks import Looks
from experiments.report.whys import SPLIT_OFF
from stats.decision import Progress
from stats.sequential import peeking_risk

READINGS: dict[str, Text] = {
    "better": {"en": "Better", "zh-CN": "更好"},
    "worse": {"en": "Worse", "zh-CN": "更差"},
    "unclear": {"en": "Unclear", "zh-CN": "不确定"},
    "within_limit": {"en": "Within limit", "zh-CN": "未越界"},
    "not_proven": {"en": "Not proven", "zh-CN": "尚未证明"},
    "broken": {"en": "Limit broken", "zh-CN": "已越界"},
    "not_computed": {"en": "Not computed", "zh-CN": "未计算"},
}


def say(text: Text, lang: str) -> str:
    """Return a text in a language, or in English, or in whatever there is.

    >>> say({"en": "Better", "zh-CN": "更好"}, "zh-CN"), say({"zh-CN": "更好"}, "en"), say({}, "en")
    ('更好', '更好', '')
    """
    if lang in text:
        return text[lang]
    short = lang.split("-", 1)[0]
    for key, value in text.items():
        if key.split("-", 1)[0] == short:
            return value
    return text.get("en") or next(iter(text.values()), "")


def inline(label: Text, lang: str) -> str:
    """Return a label as it stands within a sentence: in English without its capital, unless it is an abbreviation.

    >>> inline({"en": "Profit per member"}, "en"), inline({"en": "AOV"}, "en")
    ('profit per member', 'AOV')
    """
    text = say(label, lang)
    return text[0].lower() + text[1:] if lang == "en" and text[:1].isupper() and text[1:2].islower() else text


SRM_FAILS = 0.001
FEWEST_LOOKS, MOST_LOOKS = 2, 100
"""Looks at which reading a fixed test daily is valued."""


def unreadable_reason(srm: Srm) -> str | None:
    """Return why no effect may be read, or ``None``: the split is not as planned (p < .001)."""
    if srm.status != "fail":
        watched = srm.sequential_p_value
        return None if watched is None or watched >= SRM_FAILS else SPLIT_OFF.format(p=figures.p_value(watched))
    return SPLIT_OFF.format(p=figures.p_value(srm.p_value))


def file_summary(metrics: list[MetricResult], srm: Srm, plan: Plan) -> list[Text]:
    """Say, a sentence for each variant, on which metrics it differs clearly from control."""
    if srm.status == "fail":
        p_text = figures.p_value(srm.p_value)
        return [
            {
                "en": f"Do not read the effects: the split is not as planned (SRM p {p_text}). "
                "Find what lost or added units in one variant first.",
                "zh-CN": f"请勿解读效果：实际分流与计划不符（SRM p {p_text}）。请先查明是哪个方案多出或丢失了单元。",
            }
        ]
    return [_variant_sentence(v.key, metrics, plan) for v in plan.variants if not v.is_control]


def _variant_sentence(variant: str, metrics: list[MetricResult], plan: Plan) -> Text:
    control = plan.control
    found: dict[str, list[tuple[MetricResult, Comparison]]] = {"better": [], "worse": []}
    for metric in metrics:
        for comparison in metric.comparisons:
            if comparison.variant == variant and comparison.reading in found:
                found[comparison.reading].append((metric, comparison))
    if not found["better"] and not found["worse"]:
        return {
            "en": f"{variant} shows no clear difference from {control}.",
            "zh-CN": f"{variant} 与 {control} 的差异不确定。",
        }

    def listed(pairs: list[tuple[MetricResult, Comparison]], lang: str) -> str:
        form, joint = ("{}（{}）", "、") if lang == "zh-CN" else ("{} ({})", ", ")
        return joint.join(form.format(say(m.label, lang), _change(m, c, plan, lang)) for m, c in pairs)

    higher_en, higher_zh = listed(found["better"], "en"), listed(found["better"], "zh-CN")
    lower_en, lower_zh = listed(found["worse"], "en"), listed(found["worse"], "zh-CN")
    if found["better"] and found["worse"]:
        return {
            "en": f"{variant} is better than {control} on {higher_en}, but worse on {lower_en}.",
            "zh-CN": f"{variant} 与 {control} 相比：{higher_zh}更好，但{lower_zh}更差。",
        }
    if found["better"]:
        return {
            "en": f"{variant} is better than {control} on {higher_en}.",
            "zh-CN": f"{variant} 比 {control} 更好：{higher_zh}。",
        }
    return {
        "en": f"{variant} is worse than {control} on {lower_en}.",
        "zh-CN": f"{variant} 比 {control} 更差：{lower_zh}。",
    }


def _change(metric: MetricResult, comparison: Comparison, plan: Plan, lang: str) -> str:
    if comparison.relative.estimate is not None:
        return figures.relative(comparison.relative.estimate)
    return figures.change(comparison.effect.estimate, metric.unit, plan.currency, lang=lang)


def file_warnings(metrics: list[MetricResult], no_variant: int, no_unit: int) -> list[Text]:
    """Say what was left out of a file."""
    warnings: list[Text] = []
    if no_variant:
        warnings.append(
            {
                "en": f"{no_variant:,} rows without a variant were left out.",
                "zh-CN": f"已剔除 {no_variant:,} 行：没有方案。",
            }
        )
    if no_unit:
        warnings.append(
            {
                "en": f"{no_unit:,} rows without a unit id were left out.",
                "zh-CN": f"已剔除 {no_unit:,} 行：没有单元编号。",
            }
        )
    for metric in metrics:
        missing = metric.left_out.get("missing", 0)
        if missing:
            warnings.append(
                {
                    "en": f"{say(metric.label, 'en')}: {missing:,} units without a value are missing, not zero.",
                    "zh-CN": f"{say(metric.label, 'zh-CN')}：{missing:,} 个单元没有数值，按缺失处理，不当作零。",
                }
            )
    return warnings


METHODS: dict[str, Text] = {
    "quantile": {
        "en": "Quantiles: intervals between order statistics, differences by MOVER; a unit's events are one cluster.",
        "zh-CN": "分位数：由次序统计量得到区间，差值用 MOVER；同一单元的多个事件按群组处理。",
    },
    "restricted_mean": {
        "en": "Times: mean days without the event within the window (area under the Kaplan–Meier curve); units whose "
        "window is not over are censored now.",
        "zh-CN": "时间：观察窗口内尚未发生事件的平均天数（Kaplan–Meier 曲线下面积）；窗口未结束的单元按当前时刻删失。",
    },
    "clusters_cr2": {
        "en": "Whole clusters were given a variant: errors by CR2, degrees of freedom by Satterthwaite.",
        "zh-CN": "按整个群组分配方案：误差用 CR2，自由度用 Satterthwaite 近似。",
    },
    "post_stratified": {
        "en": "Effects are post-stratified: every variant is weighted to the same mix of strata.",
        "zh-CN": "效果经事后分层：各方案按相同的分层构成加权。",
    },
    "post_stratified_cuped": {
        "en": "Effects are post-stratified, with variance reduction by covariates (CUPED) inside the strata.",
        "zh-CN": "效果经事后分层，并在各层内用协变量缩减方差（CUPED）。",
    },
    "randomisation": {
        "en": "Switchback: variants are assigned again within places as chance could have assigned them; relative "
        "changes take control's mean as known.",
        "zh-CN": "轮换设计：在各地点内按随机分配的可能重新分配方案做检验；相对变化把对照组均值视为已知。",
    },
    "two_proportions": {
        "en": "Proportions: pooled z test, score interval (relative: Koopman's); exact where outcomes are rare.",
        "zh-CN": "比例：合并方差 z 检验与得分区间（相对变化：Koopman）；结果稀少时用精确检验。",
    },
    "welch": {"en": "Means: Welch's t test.", "zh-CN": "均值：Welch t 检验。"},
    "ratio_delta": {"en": "Ratios: delta method over units.", "zh-CN": "比率：以单元为单位的 delta 方法。"},
    "cuped_mean": {
        "en": "Variance reduction by covariates (CUPED, θ pooled within variants).",
        "zh-CN": "用协变量缩减方差（CUPED，θ 在方案内合并估计）。",
    },
    "regression_mean": {
        "en": "Variance reduction by covariates (regression within each variant, Lin 2013).",
        "zh-CN": "用协变量缩减方差（在各方案内分别回归，Lin 2013）。",
    },
    "regression_ratio": {
        "en": "Ratios with variance reduction by covariates (regression within each variant, on linearised "
        "contributions).",
        "zh-CN": "比率指标用协变量缩减方差（在各方案内对线性化贡献分别回归）。",
    },
    "brunner_munzel": {
        "en": "Ranks: how likely a unit of the variant has more than one of control, ties counted as halves "
        "(50% means neither); Brunner–Munzel's test.",
        "zh-CN": "秩：方案中一个单元的取值高于对照组一个单元的概率，相同各计一半（50% 表示无差别）；"
        "Brunner–Munzel 检验。",
    },
    "bootstrap_bca": {
        "en": "Bootstrap: units are drawn again within variants 4,000 times (fixed seed); BCa intervals and the p that "
        "goes with them.",
        "zh-CN": "自助法：在各方案内有放回抽取单元 4,000 次（固定种子）；BCa 区间及与之对应的 p 值。",
    },
    "cuped_ratio": {
        "en": "Ratios with variance reduction by covariates (CUPED on linearised contributions).",
        "zh-CN": "比率指标用协变量缩减方差（对线性化贡献做 CUPED）。",
    },
}


def file_methods(metrics: list[MetricResult], alpha: float, has_breakdowns: bool) -> list[Text]:
    """Say how the figures of a file were made."""
    used = dict.fromkeys(c.method for m in metrics for c in m.comparisons)
    methods = [METHODS[name] for name in used if name in METHODS]
    level = f"{100 * (1 - alpha):g}%"
    methods.append(
        {
            "en": f"{level} intervals and p are adjusted over all metrics and variants (Holm); "
            "other relative changes by Fieller.",
            "zh-CN": f"{level} 区间与 p 值已对全部指标和方案做多重比较校正（Holm）；其余相对变化用 Fieller 区间。",
        }
    )
    if has_breakdowns:
        methods.append(
            {
                "en": "Breakdowns are exploratory: adjusted within each table (Holm), not declared before the test.",
                "zh-CN": "细分结果仅供探索：在每张表内做 Holm 校正，并非事先声明。",
            }
        )
    return methods


_LEFT_OUT: dict[str, Text] = {
    "override": {"en": "{n} on the allow-list", "zh-CN": "白名单 {n} 名"},
    "excluded": {"en": "{n} on the exclusion list", "zh-CN": "排除名单 {n} 名"},
    "contaminated": {"en": "{n} seen in two variants", "zh-CN": "跳组 {n} 名"},
    "other_phase": {"en": "{n} counted in another phase", "zh-CN": "计入其他阶段 {n} 名"},
    "not_exposed": {"en": "{n} who never met their variant", "zh-CN": "未曝光 {n} 名"},
}


_IMMATURE: dict[str, Text] = {
    "known": {
        "en": "{n} members are still within their outcome window; they count with what is known.",
        "zh-CN": "{n} 名会员仍在观察窗口内，仅按已有结果计入。",
    },
    "waiting": {
        "en": "{n} members are still within their outcome window; they count from the day after it is over.",
        "zh-CN": "{n} 名会员仍在观察窗口内，窗口结束后的次日起计入。",
    },
}


def log_warnings(
    left_out: Mapping[str, int],
    immature: int,
    too_many_levels: Sequence[str],
    carry: Text | None,
    unsent: int = 0,
    linked: tuple[int, int, int] = (0, 0, 0),
    *,
    looks: Looks | None = None,
) -> list[Text]:
    """Say who was left out, whose windows are not over, and what else to bear in mind.

    Args:
        left_out: reason → units.
        immature: units whose windows are not over.
        too_many_levels: attributes that cannot be broken down by.
        carry: what an earlier phase may carry over.
        unsent: treated units whose send was due and never reported.
        linked: ids that share their unit with another one, the units that they are, and those of them in two variants.
        looks: group sequential: only units whose windows are over count.
    """
    warnings: list[Text] = [carry] if carry else []
    known = {reason: n for reason, n in left_out.items() if reason in _LEFT_OUT}
    if known:
        parts = {
            lang: [_LEFT_OUT[reason][lang].format(n=f"{n:,}") for reason, n in known.items()]
            for lang in ("en", "zh-CN")
        }
        warnings.append(
            {"en": f"Left out: {', '.join(parts['en'])}.", "zh-CN": f"已剔除：{'、'.join(parts['zh-CN'])}。"}
        )
    if immature:
        warnings.append(_IMMATURE["known" if looks is None else "waiting"])
        warnings[-1] = {lang: text.format(n=f"{immature:,}") for lang, text in warnings[-1].items()}
    if unsent:
        warnings.append(
            {
                "en": f"{unsent:,} members whose message was due have no send reported; they count from the scheduled "
                "time.",
                "zh-CN": f"{unsent:,} 名会员的消息已到计划发送时间但未收到发送记录，从计划时间起计入。",
            }
        )
    ids, units, conflicts = linked
    if ids:
        warnings.append(
            {
                "en": f"{ids:,} linked ids count as {units:,} members"
                + (f"; {conflicts:,} of these were given two variants and are left out." if conflicts else "."),
                "zh-CN": f"{ids:,} 个已关联的 ID 合并为 {units:,} 名会员计入"
                + (f"，其中 {conflicts:,} 名跳组，已剔除。" if conflicts else "。"),
            }
        )
    warnings += [
        {
            "en": f"{attribute} has too many values for a breakdown.",
            "zh-CN": f"{attribute} 的取值过多，无法细分。",
        }
        for attribute in too_many_levels
    ]
    return warnings


def early_warnings(plan: Plan, progress: Progress, looks: Looks | None) -> list[Text]:
    """Say where a report is looked at before its figures are made for it, or after."""
    if plan.inference == "fixed" and progress.units:
        return _peeked(plan, progress)
    if looks is not None and looks.past_plan and plan.sequential is not None and not plan.sequential.reserve:
        planned, at = f"{looks.planned:,}", f"{looks.matured:,}"
        return [
            {
                "en": f"More units than the {planned} planned have matured. The figures stay as they were when the "
                f"plan was reached, with {at}: looking further was not planned for.",
                "zh-CN": f"观察窗口已结束的单元多于计划的 {planned} 个。数值保持在达到计划时（{at} 个）的结果："
                "计划中没有为之后的查看预留显著性水平。",
            }
        ]
    return []


def _peeked(plan: Plan, progress: Progress) -> list[Text]:
    """Warn of a fixed-horizon test that is read before its end, and say what reading it daily would be worth."""
    planned = progress.planned_units
    short = planned is not None and progress.units < planned
    if not (short or progress.immature) or (progress.ended and not progress.immature):
        return []
    reasons_en, reasons_zh = [], []
    if short:
        reasons_en.append(f"{progress.units:,} of {planned:,} planned members are in")
        reasons_zh.append(f"计划 {planned:,} 名会员，已进组 {progress.units:,} 名")
    if progress.immature:
        reasons_en.append(f"the outcome windows of {progress.immature:,} are not over")
        reasons_zh.append(f"{progress.immature:,} 名的观察窗口尚未结束")
    days = progress.planned_days or (progress.days or 0) + (progress.days_to_mature or 0)
    days = min(max(days, FEWEST_LOOKS), MOST_LOOKS)
    risk = f"{100 * peeking_risk([day / days for day in range(1, days + 1)], plan.alpha):.0f}%"
    alpha = f"{100 * plan.alpha:g}%"
    return [
        {
            "en": f"This test is to be read once, at its end, and it is not there yet: {', '.join(reasons_en)}. "
            f"Intervals and p hold at the end only: whoever reads it on each of {days} days and stops at the first "
            f"clear effect finds one in {risk} of tests without any effect, not in {alpha}.",
            "zh-CN": f"本实验应在结束时一次性解读，目前尚未结束：{'，'.join(reasons_zh)}。区间与 p 值仅在结束时成立："
            f"若 {days} 天里每天查看、一见明确效果就停止，毫无效果的实验中也有 {risk} 会得出“有效果”，而非 {alpha}。",
        }
    ]
