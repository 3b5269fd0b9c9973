"""Verdict sentences, reasons and rules in English and Chinese; with money in them where the main metric is money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.report import figures
from experiments.report.document import Check, Comparison, Estimate, MetricResult, Plan, Text
from experiments.report.verdict_forms import (
    ALL_OVER,
    CHANCE,
    DO_NOT_READ,
    FORECAST,
    FUTILE,
    LOSS,
    MOVES,
    NO_FORECAST,
    NOT_CHECKED,
    NOT_COMPUTED,
    OUTLOOKS,
    PER_MEMBER,
    QUALITY,
    RULES,
    SHORT,
    STILL_OPEN,
    STOP_BROKEN,
    STOP_WORSE,
    TOTAL,
    UNCLEAR,
    UNDEFINED,
    UNMET,
)
from experiments.report.whys import why_text
from experiments.report.words import inline, say
from stats.decision import Decision, Progress, Rule, VariantOutlook

LANGUAGES = ("en", "zh-CN")
NO_SHARE = 1e-12
"""Size of an effect of which only the sign is known, because control's mean cannot be told from zero."""


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
            return self.counted(DO_NOT_READ)
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
            form = {
                "en": "Roll out {name}: {moves}.{loss}{total}",
                "zh-CN": "建议全量上线“{name}”：{moves}。{loss}{total}",
            }[lang]
            joint = {"en": ", and ", "zh-CN": "，"}[lang]
            texts[lang] = form.format(
                name=self.variant(variant, lang),
                moves=joint.join(moves),
                total=self.total(first, variant, lang),
                loss=self.loss("chosen", first, variant, lang),
            )
        return texts

    def _stop_harm(self, decision: Decision) -> Text:
        reason = decision.reasons[0]
        variant, metric = reason.variant or decision.variant or "", self.metrics[reason.metric or ""]
        forms = STOP_BROKEN if metric.role == "guardrail" else STOP_WORSE
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
        futile = next((r for r in decision.reasons if r.code == "futile"), None)
        if futile is not None:
            return self._fill(FUTILE, Rule("futile", None, {"planned": self.progress.planned_units, **futile.numbers}))
        if decision.stands == "waiting":
            why = self._fill(UNMET["outcomes_mature"], Rule("", None, {"immature": self.progress.immature}))
            head = {"en": "Wait for outcomes", "zh-CN": "等待结果"}
        else:
            unmet = self._first_unmet(decision)
            why = UNCLEAR
            if unmet is not None:
                watched = self.plan.inference == "group_sequential" and unmet.code == "planned_sample"
                why = self._fill(UNMET["matured_sample" if watched else unmet.code], unmet)
            head = {"en": "Keep running", "zh-CN": "继续运行"}
        days, units = decision.more_days, decision.more_units
        forecast = {"en": "", "zh-CN": ""}
        if days:
            word = "day" if days == 1 else "days"
            forecast = {"en": f", about {days} more {word}", "zh-CN": f"，约还需 {days} 天"}
        elif units and decision.stands == "open":
            forecast = self.counted({"en": f", about {units:,} more members", "zh-CN": f"，约还需 {units:,} 名会员"})
        return {
            "en": f"{head['en']}{forecast['en']}: {why['en']}.",
            "zh-CN": f"{head['zh-CN']}{forecast['zh-CN']}：{why['zh-CN']}。",
        }

    def _first_unmet(self, decision: Decision) -> Rule | None:
        """Return what a running test waits for: of one send outcomes, for nobody else enters; else the plan."""
        unmet = [r for r in decision.rules if r.met is False and r.code in UNMET]
        return next((r for r in unmet if r.code == "outcomes_mature"), unmet[0] if unmet else None)

    def _no_answer(self, decision: Decision) -> Text:
        """Say that the test is over without a proof, which rule was not met, and what would give an answer."""
        unmet = next((r for r in decision.rules if r.met is False and r.code in SHORT), None)
        if unmet is not None:
            more = {"more": f"{decision.more_units or 0:,}"}
            forms = STILL_OPEN if unmet.code == "planned_sample" and not self.progress.ended else SHORT[unmet.code]
            return self._fill(forms, unmet, **more)
        open_rules = [self.rule(r) for r in decision.rules if r.met is not True and r.code != "quality"]
        advice = self.counted(NO_FORECAST)
        if decision.more_units is not None:
            total = f"{self.progress.units + decision.more_units:,}"
            advice = {lang: text.format(total=total) for lang, text in self.counted(FORECAST).items()}
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
            texts[lang] = OUTLOOKS.get(code, OUTLOOKS["primary_unclear"])[lang].format(
                name=self.variant(outlook.variant, lang),
                label=inline(metric.label, lang),
                moves=self.moves(metric, outlook.variant, lang, interval=True),
                change=self.change(metric, outlook.variant, lang),
                interval=self.interval(metric, outlook.variant, lang),
                bound=figures.relative(self.no_effect_within).lstrip("+"),
                limit=self.limit(metric),
                why=why_text(comparison.why or comparison.effect.why, lang),
            )
            if code == "primary_unclear":
                texts[lang] += self.loss("now", metric, outlook.variant, lang)
        return texts

    def rule(self, rule: Rule) -> Text:
        """Return a rule's name."""
        subject = self.metrics.get(rule.subject or "")
        if subject is None:
            return QUALITY.get(rule.subject or "", RULES["quality"]) if rule.code == "quality" else RULES[rule.code]
        code = rule.code
        if code == "guardrail_within":
            code += "_above" if subject.direction == "decrease" else "_below"
        share = f"{100 * (subject.margin_relative or 0):g}%"
        return {lang: text.format(label=say(subject.label, lang), share=share) for lang, text in RULES[code].items()}

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
            return {"en": f"{count:,} not over", "zh-CN": f"{count:,} 名未结束"} if count else ALL_OVER
        estimate, high, low = numbers.get("estimate"), numbers.get("ci_high"), numbers.get("ci_low")
        if rule.code == "guardrail_within" and isinstance(high, float) and isinstance(low, float):
            limit = numbers.get("limit")
            end = figures.relative(high if isinstance(limit, float) and limit > 0 else low)
            return {"en": f"at worst {end}", "zh-CN": f"最差 {end}"}
        if rule.met is None or not isinstance(estimate, float):
            return NOT_COMPUTED
        if abs(estimate) <= NO_SHARE:
            return UNDEFINED
        shown = figures.relative(estimate)
        return {"en": shown, "zh-CN": shown}

    def _checked(self, rule: Rule) -> Text:
        p_value = rule.numbers.get("p_value")
        if isinstance(p_value, float):
            shown = f"p {figures.p_value(p_value)}"
            return {"en": shown, "zh-CN": shown}
        found = self.checks.get(rule.subject or "")
        return found.value if found is not None else NOT_CHECKED

    def counted(self, forms: Text) -> Text:
        """Return forms that count members, as they read where something else was randomised."""
        if self.plan.unit_type == "member":
            return forms
        return {
            "en": forms["en"].replace("members", "units"),
            "zh-CN": forms["zh-CN"].replace("名会员", "个单元").replace("会员", "单元"),
        }

    def _fill(self, forms: Text, rule: Rule, **more: str) -> Text:
        numbers = {k: f"{v:,}" if isinstance(v, int) else v for k, v in rule.numbers.items()}
        return {lang: text.format(**numbers, **more) for lang, text in self.counted(forms).items()}

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
        text = MOVES[word][lang].format(label=inline(metric.label, lang), size=change.lstrip("+" + figures.MINUS))
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
        bayesian = self.plan.inference == "bayesian"
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
        plain = {"en": "{} interval {} to {}", "zh-CN": "{} 区间 {} 至 {}"}
        credible = {"en": "{} credible interval {} to {}", "zh-CN": "{} 可信区间 {} 至 {}"}
        text = (credible if bayesian else plain)[lang].format(level, *ends)
        chance = self.comparison(metric, variant).chance_to_win
        if not bayesian or chance is None or metric.role == "guardrail":
            return text
        form = CHANCE["better" if chance >= 0.5 else "worse"][lang]
        return form.format(chance=figures.chance(max(chance, 1 - chance)), interval=text)

    def _shown(self, metric: MetricResult, variant: str) -> tuple[Estimate, bool]:
        """Return the estimate that sentences quote, and whether it is the absolute one."""
        found = self.comparison(metric, variant)
        relative_first = metric.role == "guardrail" or metric.unit not in ("money", "share")
        if relative_first and found.relative.estimate is not None:
            return found.relative, False
        return found.effect, True

    def loss(self, when: str, metric: MetricResult, variant: str, lang: str) -> str:
        """Return a sentence with the expected loss of choosing a variant, for Bayesian reports."""
        found = self.comparison(metric, variant).expected_loss
        if found is None:
            return ""
        size = figures.loss(found, metric.unit, self.plan.currency, lang=lang)
        each = metric.unit == "money" and self.plan.unit_type == "member"
        return LOSS[when][lang].format(loss=size + (PER_MEMBER[lang] if each else ""))

    def total(self, metric: MetricResult, variant: str, lang: str) -> str:
        """Return a sentence with the money over all of the variant's members, for money metrics."""
        found = self.comparison(metric, variant)
        if metric.unit != "money" or found.total is None or found.total.estimate is None:
            return ""
        n = next(v.n for v in metric.variants if v.variant == variant)
        size = figures.whole_money(found.total.estimate, self.plan.currency, lang)
        form = self.counted(TOTAL["more" if found.total.estimate >= 0 else "less"])[lang]
        return form.format(n=f"{n:,}", size=size)
