"""Verdict sentences, reasons and rules in English and Chinese; with money in them where the main metric is money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.report import figures
from experiments.report.document import Check, Comparison, Estimate, MetricResult, Plan, Text
from experiments.report.whys import why_text
from experiments.report.words import inline, say
from stats.decision import Decision, Progress, Rule, VariantOutlook

LANGUAGES = ("en", "zh-CN")


@dataclass(frozen=True)
class Writer:
    """Knows the plan and the scorecard; every method returns whole sentences."""

    plan: Plan
    metrics: Mapping[str, MetricResult]
    checks: Mapping[str, Check]
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
        if decision.stands == "over":
            return self._no_answer(decision)
        return self._keep_running(decision)

    def _roll_out(self, variant: str) -> Text:
        first, *others = [m for m in self.metrics.values() if m.role == "primary"]
        texts = {}
        for lang in LANGUAGES:
            moves = [self.moves(first, variant, lang, interval=True)]
            better = [m for m in others if self.comparison(m, variant).reading == "better"]
            moves += [self.moves(m, variant, lang) for m in better]
            form = {"en": "Roll out {name}: {moves}.{total}", "zh-CN": "建议全量上线“{name}”：{moves}。{total}"}[lang]
            joint = {"en": ", and ", "zh-CN": "，"}[lang]
            texts[lang] = form.format(
                name=self.variant(variant, lang), moves=joint.join(moves), total=self.total(first, variant, lang)
            )
        return texts

    def _stop_harm(self, decision: Decision) -> Text:
        reason = decision.reasons[0]
        variant, metric = reason.variant or decision.variant or "", self.metrics[reason.metric or ""]
        forms = _STOP_BROKEN if metric.role == "guardrail" else _STOP_WORSE
        return {
            lang: form.format(
                name=self.variant(variant, lang),
                moves=self.moves(metric, variant, lang, interval=True),
                limit=self.limit(metric),
            )
            for lang, form in forms.items()
        }

    def _no_effect(self) -> Text:
        first = next(m for m in self.metrics.values() if m.role == "primary")
        bound = figures.relative(self.no_effect_within).lstrip("+")
        return {
            "en": f"Stop: no variant changes {inline(first.label, 'en')} by more than ±{bound}, "
            "the bound declared before launch.",
            "zh-CN": f"停止：各方案对{say(first.label, 'zh-CN')}的影响都不超过上线前声明的 ±{bound}。",
        }

    def _keep_running(self, decision: Decision) -> Text:
        if decision.stands == "waiting":
            immature = f"{self.progress.immature:,}"
            why = {lang: text.format(immature=immature) for lang, text in _UNMET["outcomes_mature"].items()}
            head = {"en": "Wait for outcomes", "zh-CN": "等待结果"}
        else:
            unmet = next((r for r in decision.rules if r.met is False and r.code in _UNMET), None)
            why = _fill(_UNMET[unmet.code], unmet) if unmet is not None else _UNCLEAR
            head = {"en": "Keep running", "zh-CN": "继续运行"}
        days, units = decision.more_days, decision.more_units
        forecast = {"en": "", "zh-CN": ""}
        if days:
            word = "day" if days == 1 else "days"
            forecast = {"en": f", about {days} more {word}", "zh-CN": f"，约还需 {days} 天"}
        elif units and decision.stands == "open":
            forecast = {"en": f", about {units:,} more members", "zh-CN": f"，约还需 {units:,} 名会员"}
        return {
            "en": f"{head['en']}{forecast['en']}: {why['en']}.",
            "zh-CN": f"{head['zh-CN']}{forecast['zh-CN']}：{why['zh-CN']}。",
        }

    def _no_answer(self, decision: Decision) -> Text:
        """Say that the test is over without a proof, which rule was not met, and what would give an answer."""
        unmet = next((r for r in decision.rules if r.met is False and r.code in _SHORT), None)
        if unmet is not None:
            more = {"more": f"{decision.more_units or 0:,}"}
            forms = _STILL_OPEN if unmet.code == "planned_sample" and not self.progress.ended else _SHORT[unmet.code]
            return _fill(forms, unmet, **more)
        open_rules = [self.rule(r) for r in decision.rules if r.met is not True and r.code != "quality"]
        advice = _NO_FORECAST
        if decision.more_units is not None:
            total = f"{self.progress.units + decision.more_units:,}"
            advice = {lang: text.format(total=total) for lang, text in _FORECAST.items()}
        en = ", ".join(f"“{rule['en']}”" for rule in open_rules)
        chinese = "".join(f"“{rule['zh-CN']}”" for rule in open_rules)
        return {
            "en": f"No answer: the test is over, and no variant meets every rule (not met: {en}). {advice['en']}",
            "zh-CN": f"没有结论：实验已结束，没有方案满足全部规则（未满足：{chinese}）。{advice['zh-CN']}",
        }

    def outlook(self, outlook: VariantOutlook, stands: str = "open") -> Text:
        """Return why one variant is not the one to roll out, or where it stands."""
        reason = outlook.reasons[0]
        metric = self.metrics[reason.metric or ""]
        comparison = self.comparison(metric, outlook.variant)
        code = "also_better" if outlook.outcome == "also_better" else reason.code
        if code == "all_rules_met" and stands == "over":
            code = "better_but_over"
        texts = {}
        for lang in LANGUAGES:
            texts[lang] = _OUTLOOKS.get(code, _OUTLOOKS["primary_unclear"])[lang].format(
                name=self.variant(outlook.variant, lang),
                label=inline(metric.label, lang),
                moves=self.moves(metric, outlook.variant, lang, interval=True),
                change=self.change(metric, outlook.variant, lang),
                interval=self.interval(metric, outlook.variant, lang),
                bound=figures.relative(self.no_effect_within).lstrip("+"),
                limit=self.limit(metric),
                why=why_text(comparison.why or comparison.effect.why, lang),
            )
        return texts

    def rule(self, rule: Rule) -> Text:
        """Return a rule's name."""
        subject = self.metrics.get(rule.subject or "")
        if subject is None:
            return _QUALITY.get(rule.subject or "", _RULES["quality"]) if rule.code == "quality" else _RULES[rule.code]
        code = rule.code
        if code == "guardrail_within":
            code += "_above" if subject.direction == "decrease" else "_below"
        share = f"{100 * (subject.margin_relative or 0):g}%"
        return {lang: text.format(label=say(subject.label, lang), share=share) for lang, text in _RULES[code].items()}

    def actual(self, rule: Rule) -> Text:
        """Return what came out of a rule; never empty."""
        numbers = rule.numbers
        if rule.code == "quality":
            return self._checked(rule)
        if rule.code in ("planned_sample", "planned_days", "bound_crossed"):
            have, planned = numbers.get("units", numbers.get("days")), numbers.get("planned")
            return {"en": f"{have:,} of {planned:,}", "zh-CN": f"{have:,} / {planned:,}"}
        if rule.code == "whole_weeks":
            days = numbers.get("days")
            return {"en": f"{days} day{'' if days == 1 else 's'}", "zh-CN": f"{days} 天"}
        if rule.code == "loss_within":
            loss = f"{100 * float(numbers.get('expected_loss') or 0):.2g}%"
            return {"en": f"{loss} on average", "zh-CN": f"平均 {loss}"}
        if rule.code == "outcomes_mature":
            count = numbers.get("immature")
            return {"en": f"{count:,} not over", "zh-CN": f"{count:,} 名未结束"} if count else _ALL_OVER
        estimate, high, low = numbers.get("estimate"), numbers.get("ci_high"), numbers.get("ci_low")
        if rule.code == "guardrail_within" and isinstance(high, float) and isinstance(low, float):
            limit = numbers.get("limit")
            end = figures.relative(high if isinstance(limit, float) and limit > 0 else low)
            return {"en": f"at worst {end}", "zh-CN": f"最差 {end}"}
        if rule.met is None or not isinstance(estimate, float):
            return _NOT_COMPUTED
        shown = figures.relative(estimate)
        return {"en": shown, "zh-CN": shown}

    def _checked(self, rule: Rule) -> Text:
        p_value = rule.numbers.get("p_value")
        if isinstance(p_value, float):
            shown = f"p {figures.p_value(p_value)}"
            return {"en": shown, "zh-CN": shown}
        found = self.checks.get(rule.subject or "")
        return found.value if found is not None else _NOT_CHECKED

    # figures ------------------------------------------------------------------------------------------------------

    def variant(self, key: str, lang: str) -> str:
        """Return a variant's name."""
        found = next((v for v in self.plan.variants if v.key == key), None)
        return say(found.name, lang) if found and found.name else key

    def comparison(self, metric: MetricResult, variant: str) -> Comparison:
        """Return one variant's comparison on one metric."""
        return next(c for c in metric.comparisons if c.variant == variant)

    def limit(self, metric: MetricResult) -> str:
        """Return a guardrail's limit as a change, signed."""
        sign = "+" if metric.direction == "decrease" else figures.MINUS
        return f"{sign}{100 * (metric.margin_relative or 0):g}%"

    def moves(self, metric: MetricResult, variant: str, lang: str, *, interval: bool = False) -> str:
        """Return "profit per member rises by ¥2.87", with its interval where asked."""
        shown, _ = self._shown(metric, variant)
        change = self.change(metric, variant, lang)
        word = "rises" if (shown.estimate or 0) >= 0 else "falls"
        text = _MOVES[word][lang].format(label=inline(metric.label, lang), size=change.lstrip("+" + figures.MINUS))
        if not interval:
            return text
        return text + {"en": " ({})", "zh-CN": "（{}）"}[lang].format(self.interval(metric, variant, lang))

    def change(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return an effect: money and shares absolute; other numbers, and guardrails as their limit is, relative."""
        shown, absolute = self._shown(metric, variant)
        if absolute:
            return figures.change(shown.estimate, metric.unit, self.plan.currency, lang=lang)
        return figures.relative(shown.estimate)

    def interval(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return the adjusted interval that belongs to `change`."""
        shown, absolute = self._shown(metric, variant)
        level = f"{100 * (1 - self.plan.alpha):g}%"
        low, high = shown.ci_low_adjusted, shown.ci_high_adjusted
        if low is None or high is None:
            return why_text(shown.why or self.comparison(metric, variant).why, lang) or "–"
        if absolute:
            ends = [
                figures.change(v, metric.unit, self.plan.currency, like=shown.estimate, lang=lang) for v in (low, high)
            ]
            ends[0] = ends[0].removesuffix(figures.points(lang))
        else:
            ends = [figures.relative(v) for v in (low, high)]
        form = {"en": "{} interval {} to {}", "zh-CN": "{} 区间 {} 至 {}"}[lang]
        return form.format(level, *ends)

    def _shown(self, metric: MetricResult, variant: str) -> tuple[Estimate, bool]:
        """Return the estimate that sentences quote, and whether it is the absolute one."""
        found = self.comparison(metric, variant)
        relative_first = metric.role == "guardrail" or metric.unit not in ("money", "share")
        if relative_first and found.relative.estimate is not None:
            return found.relative, False
        return found.effect, True

    def total(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return a sentence with the money over all of the variant's members, for money metrics."""
        found = self.comparison(metric, variant)
        if metric.unit != "money" or found.total is None or found.total.estimate is None:
            return ""
        n = next(v.n for v in metric.variants if v.variant == variant)
        size = figures.whole_money(found.total.estimate, self.plan.currency, lang)
        form = _TOTAL["more" if found.total.estimate >= 0 else "less"][lang]
        return form.format(n=f"{n:,}", size=size)


def _fill(forms: Text, rule: Rule, **more: str) -> Text:
    numbers = {k: f"{v:,}" if isinstance(v, int) else v for k, v in rule.numbers.items()}
    return {lang: text.format(**numbers, **more) for lang, text in forms.items()}


_MOVES: dict[str, Text] = {
    "rises": {"en": "{label} rises by {size}", "zh-CN": "{label}上升 {size}"},
    "falls": {"en": "{label} falls by {size}", "zh-CN": "{label}下降 {size}"},
}
_TOTAL: dict[str, Text] = {
    "more": {"en": " Over its {n} members that is {size} more.", "zh-CN": "该方案 {n} 名会员合计多出 {size}。"},
    "less": {"en": " Over its {n} members that is {size} less.", "zh-CN": "该方案 {n} 名会员合计减少 {size}。"},
}
_STOP_WORSE: Text = {"en": "Stop: with {name}, {moves}.", "zh-CN": "停止：“{name}”使{moves}。"}
_STOP_BROKEN: Text = {
    "en": "Stop: with {name}, {moves}; the limit is {limit}.",
    "zh-CN": "停止：“{name}”使{moves}，已越过护栏界限 {limit}。",
}
_DO_NOT_READ: Text = {
    "en": "Do not read the effects: members are not split as planned. Find what lost or added members in one variant.",
    "zh-CN": "请勿解读效果：会员未按计划比例分流。请先查明是哪个方案多出或丢失了会员。",
}
_UNCLEAR: Text = {
    "en": "no variant meets every rule yet, and none can be ruled out",
    "zh-CN": "尚无方案满足全部规则，也没有方案可以排除",
}
_UNMET: dict[str, Text] = {
    "planned_sample": {
        "en": "{units} of {planned} planned members are in",
        "zh-CN": "计划 {planned} 名会员，已进组 {units} 名",
    },
    "planned_days": {"en": "day {days} of {planned} planned", "zh-CN": "计划 {planned} 天，已过 {days} 天"},
    "whole_weeks": {"en": "only whole weeks are read, and it is day {days}", "zh-CN": "只按整周解读，现为第 {days} 天"},
    "outcomes_mature": {
        "en": "the outcome windows of {immature} members are not over",
        "zh-CN": "{immature} 名会员的观察窗口尚未结束",
    },
}
_SHORT: dict[str, Text] = {
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
_STILL_OPEN: Text = {
    "en": "No answer: all outcomes are in, but from {units} of {planned} planned members. "
    "Enrol {more} more, or end the test.",
    "zh-CN": "没有结论：计划 {planned} 名会员，只进组 {units} 名，且结果已全部到齐。请再进组 {more} 名，或结束实验。",
}
_FORECAST: Text = {
    "en": "If the effects stay as they look, a new test needs about {total} members.",
    "zh-CN": "若效果与目前估计一致，重新实验约需 {total} 名会员。",
}
_NO_FORECAST: Text = {
    "en": "A new test needs many times the members, or an offer with a larger effect.",
    "zh-CN": "若要得到结论，需要多得多的会员，或效果更大的优惠。",
}
_OUTLOOKS: dict[str, Text] = {
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
_RULES: dict[str, Text] = {
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
_QUALITY: dict[str, Text] = {
    "srm": {"en": "Traffic split as planned", "zh-CN": "流量比例符合计划"},
    "srm_sequential": {"en": "Split as planned on every day", "zh-CN": "流量比例逐日符合计划"},
    "contaminated": {"en": "Few members in two variants", "zh-CN": "跳组会员很少"},
    "balance": {"en": "Balanced before the test", "zh-CN": "实验前均衡"},
}
_ALL_OVER: Text = {"en": "all over", "zh-CN": "全部结束"}
_NOT_COMPUTED: Text = {"en": "not computed", "zh-CN": "未计算"}
_NOT_CHECKED: Text = {"en": "not checked", "zh-CN": "未检查"}
