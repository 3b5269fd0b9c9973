"""The forms of verdict sentences, reasons and rules, in English and Chinese; ``verdict_words`` fills them in."""

from __future__ import annotations

from experiments.report.document import Text

MOVES: dict[str, Text] = {
    "rises": {"en": "{label} rises by {size}", "zh-CN": "{label}上升 {size}"},
    "falls": {"en": "{label} falls by {size}", "zh-CN": "{label}下降 {size}"},
}
TOTAL: dict[str, Text] = {
    "more": {"en": " Over its {n} members that is {size} more.", "zh-CN": "该方案 {n} 名会员合计多出 {size}。"},
    "less": {"en": " Over its {n} members that is {size} less.", "zh-CN": "该方案 {n} 名会员合计减少 {size}。"},
}
STOP_WORSE: Text = {"en": "Stop: with {name}, {moves}.", "zh-CN": "停止：“{name}”使{moves}。"}
STOP_BROKEN: Text = {
    "en": "Stop: with {name}, {moves}; the limit is {limit}.",
    "zh-CN": "停止：“{name}”使{moves}，已越过护栏界限 {limit}。",
}
DO_NOT_READ: Text = {
    "en": "Do not read the effects: members are not split as planned. Find what lost or added members in one variant.",
    "zh-CN": "请勿解读效果：会员未按计划比例分流。请先查明是哪个方案多出或丢失了会员。",
}
CHANCE: dict[str, Text] = {
    "better": {"en": "better with a chance of {chance}, {interval}", "zh-CN": "更好的概率 {chance}，{interval}"},
    "worse": {"en": "worse with a chance of {chance}, {interval}", "zh-CN": "更差的概率 {chance}，{interval}"},
}
"""Bayesian reports: what stands beside an effect."""
LOSS: dict[str, Text] = {
    "chosen": {"en": " The expected loss of this choice is {loss}.", "zh-CN": "这一选择的期望损失为 {loss}。"},
    "now": {
        "en": " The expected loss of choosing it now is {loss}.",
        "zh-CN": "若现在就选择它，期望损失为 {loss}。",
    },
}
PER_MEMBER: Text = {"en": " per member", "zh-CN": "/人"}
FUTILE: Text = {
    "en": "Keep running or give up: after {units} of {planned} planned members there is little hope left that a "
    "variant shows the effect the plan was made for. Stopping costs little, going on breaks nothing.",
    "zh-CN": "继续或放弃均可：计划 {planned} 名会员，{units} 名的结果已到齐，任何方案要显出计划中的效果已希望渺茫。"
    "停止的代价很小，继续也不影响有效性。",
}
UNCLEAR: Text = {
    "en": "no variant meets every rule yet, and none can be ruled out",
    "zh-CN": "尚无方案满足全部规则，也没有方案可以排除",
}
UNMET: dict[str, Text] = {
    "planned_sample": {
        "en": "{units} of {planned} planned members are in",
        "zh-CN": "计划 {planned} 名会员，已进组 {units} 名",
    },
    "matured_sample": {
        "en": "outcomes of {units} of {planned} planned members are in",
        "zh-CN": "计划 {planned} 名会员，{units} 名的结果已到齐",
    },
    "planned_days": {"en": "day {days} of {planned} planned", "zh-CN": "计划 {planned} 天，已过 {days} 天"},
    "whole_weeks": {"en": "only whole weeks are read, and it is day {days}", "zh-CN": "只按整周解读，现为第 {days} 天"},
    "outcomes_mature": {
        "en": "the outcome windows of {immature} members are not over",
        "zh-CN": "{immature} 名会员的观察窗口尚未结束",
    },
}
SHORT: dict[str, Text] = {
    "planned_sample": {
        "en": "No answer: the test ended with {units} of {planned} planned members. "
        "Run it again with at least {planned}.",
        "zh-CN": "没有结论：计划 {planned} 名会员，实验结束时只进组 {units} 名。请以至少 {planned} 名会员重新实验。",
    },
    "planned_days": {
        "en": "No answer: the test ended on day {days} of {planned} planned. Run it again for the planned time.",
        "zh-CN": "没有结论：计划 {planned} 天，实验在第 {days} 天就结束了。请按计划时长重新实验。",
    },
    "whole_weeks": {
        "en": "No answer: the test ended on day {days}, and only whole weeks are read. Run it again for whole weeks.",
        "zh-CN": "没有结论：只按整周解读，而实验在第 {days} 天结束。请按整周重新实验。",
    },
}
STILL_OPEN: Text = {
    "en": "No answer: all outcomes are in, but from {units} of {planned} planned members. "
    "Enrol {more} more, or end the test.",
    "zh-CN": "没有结论：计划 {planned} 名会员，只进组 {units} 名，且结果已全部到齐。请再进组 {more} 名，或结束实验。",
}
FORECAST: Text = {
    "en": "If the effects stay as they look, a new test needs about {total} members.",
    "zh-CN": "若效果与目前估计一致，重新实验约需 {total} 名会员。",
}
NO_FORECAST: Text = {
    "en": "A new test needs many times the members, or an offer with a larger effect.",
    "zh-CN": "若要得到结论，需要多得多的会员，或效果更大的优惠。",
}
OUTLOOKS: dict[str, Text] = {
    "also_better": {
        "en": "{name} is better too, but gains less: {moves}.",
        "zh-CN": "“{name}”也更好，但幅度较小：{moves}。",
    },
    "all_rules_met": {"en": "{name} is better so far: {moves}.", "zh-CN": "“{name}”目前更好：{moves}。"},
    "better_but_over": {
        "en": "{name} does better, {moves}; but the test did not get as far as its plan.",
        "zh-CN": "“{name}”更好：{moves}；但实验未达到原定计划。",
    },
    "primary_worse": {"en": "Do not choose {name}: {moves}.", "zh-CN": "不要选择“{name}”：{moves}。"},
    "guardrail_broken": {
        "en": "Do not choose {name}: {moves}; the limit is {limit}.",
        "zh-CN": "不要选择“{name}”：{moves}，已越过护栏界限 {limit}。",
    },
    "guardrail_not_proven": {
        "en": "{name} is not proven to keep {label} within {limit}: {change} ({interval}).",
        "zh-CN": "尚未证明“{name}”的{label}未越界（界限 {limit}）：{change}（{interval}）。",
    },
    "no_effect_beyond": {
        "en": "{name} shows no effect on {label} beyond ±{bound}.",
        "zh-CN": "“{name}”对{label}的影响不超过 ±{bound}。",
    },
    "primary_unclear": {
        "en": "{name} shows no clear change in {label}: {change} ({interval}).",
        "zh-CN": "“{name}”对{label}的影响不确定：{change}（{interval}）。",
    },
    "not_computed": {
        "en": "{name} cannot be judged on {label}: {why}.",
        "zh-CN": "无法就{label}判断“{name}”：{why}。",
    },
}
RULES: dict[str, Text] = {
    "quality": {"en": "Data quality", "zh-CN": "数据质量"},
    "planned_sample": {"en": "Planned sample reached", "zh-CN": "达到计划样本量"},
    "planned_days": {"en": "Planned days observed", "zh-CN": "达到计划天数"},
    "whole_weeks": {"en": "Whole weeks observed", "zh-CN": "覆盖完整周"},
    "bound_crossed": {"en": "Stopping bound crossed before the plan's end", "zh-CN": "计划结束前已越过停止界限"},
    "loss_within": {"en": "Expected loss within the declared bound", "zh-CN": "期望损失不超过声明的界限"},
    "outcomes_mature": {"en": "Outcome windows are over", "zh-CN": "观察窗口已结束"},
    "primary_better": {"en": "{label}: better", "zh-CN": "{label}：更好"},
    "primary_not_harmed": {"en": "{label}: not harmed", "zh-CN": "{label}：未受损"},
    "guardrail_within_above": {"en": "{label}: up by less than {share}", "zh-CN": "{label}：上升低于 {share}"},
    "guardrail_within_below": {"en": "{label}: down by less than {share}", "zh-CN": "{label}：下降低于 {share}"},
}
QUALITY: dict[str, Text] = {
    "srm": {"en": "Traffic split as planned", "zh-CN": "流量比例符合计划"},
    "srm_sequential": {"en": "Split as planned on every day", "zh-CN": "流量比例逐日符合计划"},
    "contaminated": {"en": "Few members in two variants", "zh-CN": "跳组会员很少"},
    "balance": {"en": "Balanced before the test", "zh-CN": "实验前均衡"},
}
ALL_OVER: Text = {"en": "all over", "zh-CN": "全部结束"}
NOT_COMPUTED: Text = {"en": "not computed", "zh-CN": "未计算"}
NOT_CHECKED: Text = {"en": "not checked", "zh-CN": "未检查"}
UNDEFINED: Text = {"en": "no relative change", "zh-CN": "相对变化无定义"}
