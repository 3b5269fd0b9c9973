"""Verdict sentences, reasons and rules in English and Chinese; with money in them where the main metric is money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.report import figures
from experiments.report.document import Comparison, MetricResult, Plan, Text
from experiments.report.words import say
from stats.decision import Decision, Progress, Rule, VariantOutlook

LANGUAGES = ("en", "zh-CN")


@dataclass(frozen=True)
class Writer:
    """Knows the plan and the scorecard; every method returns whole sentences."""

    plan: Plan
    metrics: Mapping[str, MetricResult]
    progress: Progress
    no_effect_within: float | None

    def sentence(self, decision: Decision) -> Text:
        """Return the one sentence that says what to do."""
        if decision.code == "do_not_read":
            return _DO_NOT_READ
        if decision.code == "roll_out" and decision.variant is not None:
            return self._roll_out(decision.variant)
        if decision.code == "stop_harm" and decision.variant is not None:
            return self._stop_harm(decision)
        if decision.code == "stop_no_effect":
            return self._no_effect()
        return self._keep_running(decision)

    def _roll_out(self, variant: str) -> Text:
        first, *others = [m for m in self.metrics.values() if m.role == "primary"]
        texts = {}
        for lang in LANGUAGES:
            name, label = self.variant(variant, lang), say(first.label, lang)
            change, interval = self.change(first, variant), self.interval(first, variant, lang)
            also = [
                f"{say(m.label, lang)} {self.relative(m, variant)}"
                for m in others
                if self.comparison(m, variant).reading == "better"
            ]
            total = self.total(first, variant, lang)
            if lang == "en":
                more = f", and {' and '.join(also)}" if also else ""
                texts[lang] = f"Roll out {name}: {label} changes by {change} ({interval}){more}.{total}"
            else:
                more = f"，{'，'.join(also)}" if also else ""
                texts[lang] = f"推全“{name}”：{label}变化 {change}（{interval}）{more}。{total}"
        return texts

    def _stop_harm(self, decision: Decision) -> Text:
        reason = decision.reasons[0]
        variant, metric = reason.variant or decision.variant or "", self.metrics[reason.metric or ""]
        broken = metric.role == "guardrail"
        texts = {}
        for lang in LANGUAGES:
            name, label = self.variant(variant, lang), say(metric.label, lang)
            change, interval = self.change(metric, variant), self.interval(metric, variant, lang)
            if lang == "en":
                what = f"breaks the limit on {label}" if broken else f"is worse on {label}"
                texts[lang] = f"Stop: {name} {what}, {change} ({interval})."
            else:
                what = f"突破了{label}的界限" if broken else f"使{label}变差"
                texts[lang] = f"停止：“{name}”{what}，{change}（{interval}）。"
        return texts

    def _no_effect(self) -> Text:
        first = next(m for m in self.metrics.values() if m.role == "primary")
        bound = figures.relative(self.no_effect_within).lstrip("+")
        return {
            "en": f"Stop: no variant changes {say(first.label, 'en')} by more than ±{bound}, "
            "the bound declared before launch.",
            "zh-CN": f"停止：没有方案使{say(first.label, 'zh-CN')}变化超过 ±{bound}（上线前声明的界限）。",
        }

    def _keep_running(self, decision: Decision) -> Text:
        unmet = next((r for r in decision.rules if r.met is False and r.code in _UNMET), None)
        days, units = decision.more_days, decision.more_units
        forecast = {"en": "", "zh-CN": ""}
        if days:
            forecast = {"en": f", about {days} more days", "zh-CN": f"，约还需 {days} 天"}
        elif units:
            forecast = {"en": f", about {units:,} more members", "zh-CN": f"，约还需 {units:,} 名会员"}
        why = self._unmet(unmet) if unmet is not None else _UNCLEAR
        return {
            "en": f"Keep running{forecast['en']}: {why['en']}.",
            "zh-CN": f"继续运行{forecast['zh-CN']}：{why['zh-CN']}。",
        }

    def _unmet(self, rule: Rule) -> Text:
        numbers = {k: f"{v:,}" if isinstance(v, int) else v for k, v in rule.numbers.items()}
        return {lang: text.format(**numbers) for lang, text in _UNMET[rule.code].items()}

    def outlook(self, outlook: VariantOutlook) -> Text:
        """Return why one variant is not the one to roll out, or where it stands."""
        reason = outlook.reasons[0]
        metric = self.metrics[reason.metric or ""]
        texts = {}
        for lang in LANGUAGES:
            values = {
                "name": self.variant(outlook.variant, lang),
                "label": say(metric.label, lang),
                "change": self.change(metric, outlook.variant),
                "interval": self.interval(metric, outlook.variant, lang),
                "bound": figures.relative(self.no_effect_within).lstrip("+"),
                "why": self.comparison(metric, outlook.variant).why or "",
            }
            code = "also_better" if outlook.outcome == "also_better" else reason.code
            texts[lang] = _OUTLOOKS.get(code, _OUTLOOKS["primary_unclear"])[lang].format(**values)
        return texts

    def rule(self, rule: Rule) -> Text:
        """Return a rule's name."""
        texts = _RULES[rule.code]
        subject = self.metrics.get(rule.subject or "")
        if subject is None:
            return _QUALITY.get(rule.subject or "", texts) if rule.code == "quality" else texts
        margin = ""
        if subject.margin_relative is not None:
            sign = "+" if subject.direction == "decrease" else figures.MINUS
            margin = f"{sign}{100 * subject.margin_relative:g}%"
        return {lang: text.format(label=say(subject.label, lang), margin=margin) for lang, text in texts.items()}

    def actual(self, rule: Rule) -> Text:
        """Return what came out of a rule."""
        numbers = rule.numbers
        if rule.code == "quality":
            p_value = numbers.get("p_value")
            shown = f"p {figures.p_value(float(p_value))}" if isinstance(p_value, float) else ""
            return {"en": shown, "zh-CN": shown}
        if rule.code in ("planned_sample", "planned_days"):
            have, planned = numbers.get("units", numbers.get("days")), numbers.get("planned")
            return {
                "en": f"{have:,} of {planned:,}" if isinstance(have, int) and isinstance(planned, int) else "",
                "zh-CN": f"{have:,} / {planned:,}" if isinstance(have, int) and isinstance(planned, int) else "",
            }
        if rule.code == "whole_weeks":
            return {"en": f"{numbers.get('days')} days", "zh-CN": f"{numbers.get('days')} 天"}
        if rule.code == "outcomes_mature":
            count = numbers.get("immature") or 0
            return {"en": f"{count:,} immature", "zh-CN": f"{count:,} 个未成熟"}
        estimate, high, low = numbers.get("estimate"), numbers.get("ci_high"), numbers.get("ci_low")
        if rule.code == "guardrail_within" and isinstance(high, float) and isinstance(low, float):
            limit = numbers.get("limit")
            end = high if isinstance(limit, float) and limit > 0 else low
            return {"en": f"at worst {figures.relative(end)}", "zh-CN": f"最差 {figures.relative(end)}"}
        shown = figures.relative(estimate) if isinstance(estimate, float) else "–"
        return {"en": shown, "zh-CN": shown}

    # figures ------------------------------------------------------------------------------------------------------

    def variant(self, key: str, lang: str) -> str:
        """Return a variant's name."""
        found = next((v for v in self.plan.variants if v.key == key), None)
        return say(found.name, lang) if found and found.name else key

    def comparison(self, metric: MetricResult, variant: str) -> Comparison:
        """Return one variant's comparison on one metric."""
        return next(c for c in metric.comparisons if c.variant == variant)

    def change(self, metric: MetricResult, variant: str) -> str:
        """Return an effect; money and shares absolute, other numbers relative."""
        found = self.comparison(metric, variant)
        if metric.unit in ("money", "share") or found.relative.estimate is None:
            return figures.change(found.effect.estimate, metric.unit, self.plan.currency)
        return figures.relative(found.relative.estimate)

    def relative(self, metric: MetricResult, variant: str) -> str:
        """Return an effect relative to control, or absolute where that is not defined."""
        found = self.comparison(metric, variant)
        if found.relative.estimate is None:
            return figures.change(found.effect.estimate, metric.unit, self.plan.currency)
        return figures.relative(found.relative.estimate)

    def interval(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return the adjusted interval that belongs to `change`."""
        found = self.comparison(metric, variant)
        level = f"{100 * (1 - self.plan.alpha):g}%"
        absolute = metric.unit in ("money", "share") or found.relative.estimate is None
        shown = found.effect if absolute else found.relative
        low, high = shown.ci_low_adjusted, shown.ci_high_adjusted
        if low is None or high is None:
            return shown.why or found.why or "–"
        if absolute:
            like = found.effect.estimate
            ends = [figures.change(v, metric.unit, self.plan.currency, like=like) for v in (low, high)]
        else:
            ends = [figures.relative(v) for v in (low, high)]
        if lang == "en":
            return f"{level} interval {ends[0]} to {ends[1]}"
        return f"{level} 区间 {ends[0]} 至 {ends[1]}"

    def total(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return a sentence with the money over all of the variant's members, for money metrics."""
        found = self.comparison(metric, variant)
        if metric.unit != "money" or found.total is None or found.total.estimate is None:
            return ""
        n = next(v.n for v in metric.variants if v.variant == variant)
        shown = figures.money(found.total.estimate, self.plan.currency, sign=True)
        if lang == "en":
            return f" Over its {n:,} members that is {shown}."
        return f"其 {n:,} 名会员合计 {shown}。"


_DO_NOT_READ: Text = {
    "en": "Do not read the effects: members are not split as planned. Find what lost or added members in one variant.",
    "zh-CN": "请勿解读效果：实际流量比例与计划不符。请先找出某一方案多出或丢失会员的原因。",
}
_UNCLEAR: Text = {
    "en": "no variant meets every rule yet, and none can be ruled out",
    "zh-CN": "尚无方案满足全部规则，也无法排除任何方案",
}
_UNMET: dict[str, Text] = {
    "planned_sample": {
        "en": "{units} of {planned} planned members are in",
        "zh-CN": "计划 {planned} 名会员，已入组 {units} 名",
    },
    "planned_days": {"en": "day {days} of {planned} planned", "zh-CN": "计划 {planned} 天，已过 {days} 天"},
    "whole_weeks": {"en": "only whole weeks are read, and it is day {days}", "zh-CN": "只按整周解读，现为第 {days} 天"},
    "outcomes_mature": {
        "en": "the outcome windows of {immature} members are not over",
        "zh-CN": "{immature} 名会员的观察窗口尚未结束",
    },
}
_OUTLOOKS: dict[str, Text] = {
    "also_better": {
        "en": "{name} is better too, but gains less: {label} {change} ({interval}).",
        "zh-CN": "“{name}”也更好，但收益较小：{label} {change}（{interval}）。",
    },
    "all_rules_met": {
        "en": "{name} is better so far: {label} {change} ({interval}).",
        "zh-CN": "“{name}”目前更好：{label} {change}（{interval}）。",
    },
    "primary_worse": {
        "en": "Do not choose {name}: {label} {change} ({interval}).",
        "zh-CN": "不要选择“{name}”：{label} {change}（{interval}）。",
    },
    "guardrail_broken": {
        "en": "Do not choose {name}: it breaks the limit on {label}, {change} ({interval}).",
        "zh-CN": "不要选择“{name}”：突破了{label}的界限，{change}（{interval}）。",
    },
    "guardrail_not_proven": {
        "en": "{name} is not proved to keep the limit on {label}: {change} ({interval}).",
        "zh-CN": "尚未证实“{name}”守住{label}的界限：{change}（{interval}）。",
    },
    "no_effect_beyond": {
        "en": "{name} shows no effect on {label} beyond ±{bound}.",
        "zh-CN": "“{name}”对{label}的影响不超过 ±{bound}。",
    },
    "primary_unclear": {
        "en": "{name} shows no clear change in {label}: {change} ({interval}).",
        "zh-CN": "“{name}”的{label}没有明确变化：{change}（{interval}）。",
    },
    "not_computed": {
        "en": "{name} cannot be judged on {label}: {why}.",
        "zh-CN": "无法就{label}判断“{name}”：{why}。",
    },
}
_RULES: dict[str, Text] = {
    "quality": {"en": "Data quality", "zh-CN": "数据质量"},
    "planned_sample": {"en": "Planned sample reached", "zh-CN": "达到计划样本量"},
    "planned_days": {"en": "Planned days observed", "zh-CN": "达到计划天数"},
    "whole_weeks": {"en": "Whole weeks observed", "zh-CN": "覆盖完整周"},
    "outcomes_mature": {"en": "Outcome windows are over", "zh-CN": "观察窗口已结束"},
    "primary_better": {"en": "{label} is better", "zh-CN": "{label}更好"},
    "primary_not_harmed": {"en": "{label} is not harmed", "zh-CN": "{label}未受损"},
    "guardrail_within": {"en": "{label} stays within {margin}", "zh-CN": "{label}变化不超过 {margin}"},
}
_QUALITY: dict[str, Text] = {
    "srm": {"en": "Traffic split as planned", "zh-CN": "流量比例符合计划"},
    "contaminated": {"en": "Few members in two variants", "zh-CN": "跳组会员很少"},
    "balance": {"en": "Balanced before the test", "zh-CN": "实验前均衡"},
}
