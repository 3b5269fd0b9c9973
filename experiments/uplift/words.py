"""The sentences of a recommendation, in English and Chinese: whole sentences with figures filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.report import figures
from experiments.report.document import Text
from experiments.uplift.checks import WRONG
from experiments.uplift.document import Check, Interval, PolicyValue
from experiments.uplift.figures import amount
from experiments.uplift.learned import Learned
from stats.uplift.recommending import Recommended

LANGUAGES = ("en", "zh-CN")
SIMPLER = ("tree", "response", "rfm")
"""Ways to choose among members that are compared with one choice for all, and not tested against it."""
SLIGHT = 0.01
"""Share of the units below which an arm is not told of in a sentence."""


@dataclass(frozen=True)
class Wording:
    """How figures and arms of one recommendation read."""

    learned: Learned
    names: Mapping[str, Text]
    """Arm → name."""
    unit_type: str
    alpha: float

    # figures ------------------------------------------------------------------------------------------------------

    def amount(self, value: float | None, lang: str, *, sign: bool = False) -> str:
        """Return money a unit; where nothing has a price, the outcome itself (points of a share, or a number)."""
        return amount(value, self.learned.currency, lang, binary=self.learned.trial.binary, sign=sign)

    def interval(self, value: Interval, lang: str) -> str:
        """Return an interval in brackets' words, empty where there is none."""
        if value.ci_low is None or value.ci_high is None:
            return ""
        level = f"{100 * (1 - self.alpha):g}%"
        low, high = (self.amount(v, lang, sign=True) for v in (value.ci_low, value.ci_high))
        if lang == "en":
            return f" ({level} interval {low} to {high})"
        return f"（{level} 区间 {low} 至 {high}）"

    def share(self, value: float) -> str:
        """Return a share in whole per cent."""
        return f"{100 * value:.0f}%"

    def unit(self, lang: str) -> str:
        """Return what one unit is called."""
        if lang != "en":
            return "人" if self.unit_type == "member" else "个对象"
        return self.unit_type if self.unit_type in ("member", "device", "household", "store", "customer") else "unit"

    def each(self, lang: str) -> str:
        """Return "a member" after an amount of money; points of a share are of all of them already."""
        if self.learned.currency is None and self.learned.trial.binary:
            return ""
        return f" a {self.unit(lang)}" if lang == "en" else ""

    def units(self, lang: str) -> str:
        """Return what several units are called."""
        return ("会员" if self.unit_type == "member" else "对象") if lang != "en" else f"{self.unit(lang)}s"

    # arms ---------------------------------------------------------------------------------------------------------

    def name(self, place: int, lang: str) -> str:
        """Return an arm's name."""
        key = self.learned.arms[place]
        text = self.names.get(key, {})
        return text.get(lang) or text.get("en") or key

    def for_all(self, place: int, lang: str) -> str:
        """Return one choice for all as a phrase: sending A to all, sending nothing."""
        if place == 0:
            return "sending nothing" if lang == "en" else "什么都不发"
        name = self.name(place, lang)
        return f"sending {name} to all" if lang == "en" else f"向所有人发放「{name}」"

    def advice(self, place: int, lang: str) -> str:
        """Return one choice for all as a sentence."""
        if place == 0:
            return "Send nobody anything." if lang == "en" else "建议谁都不发。"
        name = self.name(place, lang)
        return f"Send {name} to all." if lang == "en" else f"建议向所有人发放「{name}」。"

    def others_than(self, usual: int) -> Text:
        """Return who a group are that get something else than most."""
        return {
            "en": f"The target group are those who should get something else than {self.name(usual, 'en')}.",
            "zh-CN": f"目标人群是不应得到「{self.name(usual, 'zh-CN')}」的{self.units('zh-CN')}。",
        }

    # sentences ----------------------------------------------------------------------------------------------------

    def sentence(self, policies: Sequence[PolicyValue], best: int, *, evidence: bool) -> Text:
        """Return what to do."""
        found = {policy.code: policy for policy in policies}
        chosen, single = found["personalised"], found["best_single"]
        if evidence:
            return {lang: self._chosen(chosen, single, best, lang) for lang in LANGUAGES}
        return {lang: self._single(chosen, best, lang) for lang in LANGUAGES}

    def _chosen(self, chosen: PolicyValue, single: PolicyValue, best: int, lang: str) -> str:
        gain = chosen.gain or Interval(estimate=None)
        more, ci = self.amount(gain.estimate, lang), self.interval(gain, lang)
        value = self.amount(chosen.value.estimate, lang)
        unit, units = self.unit(lang), self.units(lang)
        given = [(place, chosen.mix.get(key, 0.0)) for place, key in enumerate(self.learned.arms)]
        offers = [(place, share) for place, share in given[1:] if share >= SLIGHT]
        money = self.learned.currency is not None
        if lang == "en":
            cost = (
                f", at {self.amount(chosen.cost, lang)} a {unit} in offers and contacts instead of "
                f"{self.amount(single.cost, lang)}"
                if money and chosen.cost is not None and best
                else ""
            )
            worth = f"{value}{self.each(lang)}, {more} more than {self.for_all(best, lang)}{ci}{cost}."
            if not best:  # the two amounts are one
                worth = f"{more}{self.each(lang)} {'more than' if money else 'against'} sending nothing{ci}."
            verb = "earn" if money else f"bring {figures_label(self.learned.outcome_label, lang)} up by"
            if len(offers) == 1:
                place, share = offers[0]
                top = f"Sending {self.name(place, lang)} to the top {self.share(share)} only"
                return f"{top} is expected to {verb} {worth}"
            shared = ", ".join(f"{self.name(place, lang)} to {self.share(share)}" for place, share in offers)
            rest = f", nothing to {self.share(given[0][1])}" if given[0][1] >= SLIGHT else ""
            return (
                f"Sending each {unit} the offer with the greatest predicted gain ({shared}{rest}) is expected to "
                f"{verb} {worth}"
            )
        cost = (
            f"，人均优惠与触达成本 {self.amount(chosen.cost, lang)}，而不是 {self.amount(single.cost, lang)}"
            if money and chosen.cost is not None and best
            else ""
        )
        verb = (
            f"预计人均多赚 {value}" if money else f"预计{figures_label(self.learned.outcome_label, lang)}提高 {value}"
        )
        worth = f"{verb}，比{self.for_all(best, lang)}多 {more}{ci}{cost}。"
        if not best:
            worth = f"与什么都不发相比，{verb}{ci}。"
        if len(offers) == 1:
            place, share = offers[0]
            return f"只向预测增量最高的 {self.share(share)} {units}发放「{self.name(place, lang)}」，{worth}"
        shared = "，".join(f"{self.share(share)} 得到「{self.name(place, lang)}」" for place, share in offers)
        rest = f"，{self.share(given[0][1])} 不发" if given[0][1] >= SLIGHT else ""
        return f"向每位{units}发放预测增量最高的优惠（{shared}{rest}），{worth}"

    def _single(self, chosen: PolicyValue, best: int, lang: str) -> str:
        gain = chosen.gain or Interval(estimate=None)
        more, ci = self.amount(gain.estimate, lang, sign=True), self.interval(gain, lang)
        unit = self.unit(lang)
        if not gain.estimate and gain.ci_low == gain.ci_high:
            return self._alike(best, lang)
        if lang == "en":
            return (
                f"No evidence of differentiation: choosing by {unit} is not shown to do better than "
                f"{self.for_all(best, lang)}; the difference is {more}{self.each(lang)}{ci}. {self.advice(best, lang)}"
            )
        units = self.units(lang)
        return (
            f"无差异化证据：按{units}区别发放并未被证明优于{self.for_all(best, lang)}；"
            f"人均差异为 {more}{ci}。{self.advice(best, lang)}"
        )

    def _alike(self, best: int, lang: str) -> str:
        """Return that the same choice is predicted to be best for everybody."""
        if lang == "en":
            what = (
                f"{self.name(best, lang)} has the greatest predicted gain" if best else "no offer is predicted to pay"
            )
            whom = f"for every {self.unit(lang)}" if best else f"for any {self.unit(lang)}"
            return f"No evidence of differentiation: {what} {whom}. {self.advice(best, lang)}"
        what = f"「{self.name(best, lang)}」的预测增量都最高" if best else "没有优惠预计划算"
        return f"无差异化证据：对每位{self.units(lang)}，{what}。{self.advice(best, lang)}"

    def reasons(self, policies: Sequence[PolicyValue], best: int, *, evidence: bool) -> list[Text]:
        """Return what stands beside the sentence: what one choice for all earns, and what simpler rankings do."""
        found = {policy.code: policy for policy in policies}
        out: list[Text] = []
        if best:
            single = found.get(f"all:{self.learned.arms[best]}", found["best_single"])
            out.append(self._of_single(single.value, best))
        elif not evidence:
            out.append(
                {
                    "en": "No offer is shown to pay when all are sent it.",
                    "zh-CN": "没有优惠被证明在全量发放时划算。",
                }
            )
        if evidence and (response := found.get("response")) is not None:
            out.append(self._of_response(response))
        if not evidence:
            out += self._to_be_tested(policies, best)
        return out

    def _to_be_tested(self, policies: Sequence[PolicyValue], best: int) -> list[Text]:
        """Return that a simpler way looks better than one choice for all, where its interval says so by itself."""
        found = [each for each in policies if each.code in SIMPLER and each.gain is not None]
        better = [each for each in found if each.gain is not None and (each.gain.ci_low or 0.0) > 0]
        out: list[Text] = []
        for each in better[:1]:
            gain = each.gain or Interval(estimate=None)
            more = {lang: self.amount(gain.estimate, lang, sign=True) + self.interval(gain, lang) for lang in LANGUAGES}
            out.append(
                {
                    "en": f"{each.label['en']}: {more['en']} over {self.for_all(best, 'en')}. Of several ways that are "
                    "compared the best may be so by luck: test it before relying on it.",
                    "zh-CN": f"{each.label['zh-CN']}：比{self.for_all(best, 'zh-CN')}多 {more['zh-CN']}。"
                    "多种方式并列比较时，最好的一种可能只是运气：请先用实验检验。",
                }
            )
        return out

    def _of_single(self, value: Interval, best: int) -> Text:
        clear = value.ci_low is not None and value.ci_low > 0
        amount = {lang: self.amount(value.estimate, lang, sign=True) for lang in LANGUAGES}
        en = f"{self.name(best, 'en')} for all: {amount['en']}{self.each('en')}{self.interval(value, 'en')}"
        zh = f"「{self.name(best, 'zh-CN')}」全量发放：人均 {amount['zh-CN']}{self.interval(value, 'zh-CN')}"
        if clear:
            return {"en": f"{en} against sending nothing.", "zh-CN": f"{zh}，与不发相比。"}
        return {
            "en": f"{en} against sending nothing: unclear whether it pays at all.",
            "zh-CN": f"{zh}，与不发相比：是否划算尚不确定。",
        }

    def _of_response(self, response: PolicyValue) -> Text:
        value = {lang: self.amount(response.value.estimate, lang) for lang in LANGUAGES}
        share, verb = self.share(response.treated), "bring" if self.learned.currency is None else "earn"
        return {
            "en": f"Picking those most likely to buy instead (the top {share}) would {verb} {value['en']}"
            f"{self.each('en')}.",
            "zh-CN": f"改为挑选最可能购买者（前 {share}）时，人均为 {value['zh-CN']}。",
        }

    def refused(self, checks: Sequence[Check]) -> Text:
        """Return that these data cannot say what an offer does."""
        failed = [check for check in checks if check.status == "fail"]
        drawn = any(check.code not in ("before", "lost") for check in failed)
        return {
            "en": "These data cannot say who should get which offer: "
            + "; ".join(_failed(check, "en") for check in failed)
            + (". Differences between the arms may have been there before the offer." if drawn else "."),
            "zh-CN": "这些数据无法说明该给谁发什么："
            + "；".join(_failed(check, "zh-CN") for check in failed)
            + ("。组间差异可能在发放之前就已存在。" if drawn else "。"),
        }


def _failed(check: Check, lang: str) -> str:
    """Return what is wrong, and by which figures."""
    what, value = WRONG[check.code][lang], check.value.get(lang, "")
    return f"{what} ({value})" if lang == "en" else f"{what}（{value}）"


def inline(text: str) -> str:
    """Return a label as it stands within a sentence.

    >>> inline("Split as planned"), inline("AUC")
    ('split as planned', 'AUC')
    """
    return text[0].lower() + text[1:] if text[:1].isupper() and text[1:2].islower() else text


def figures_label(label: Text, lang: str) -> str:
    """Return an outcome's name as it stands within a sentence."""
    text = label.get(lang) or label.get("en") or ""
    return inline(text) if lang == "en" else text


_LABELS: dict[str, Text] = {
    "personalised": {"en": "By predicted gain", "zh-CN": "按预测增量"},
    "tree": {"en": "By a rule of two questions", "zh-CN": "按两个条件的规则"},
    "best_single": {"en": "Best single choice", "zh-CN": "最佳单一选择"},
    "response": {"en": "Most likely to buy first", "zh-CN": "最可能购买者优先"},
    "rfm": {"en": "Best RFM first", "zh-CN": "RFM 最高者优先"},
    "random": {"en": "At random", "zh-CN": "随机"},
    "none": {"en": "Nobody", "zh-CN": "不发"},
}


def policy_label(code: str, words: Wording, best: int | None = None) -> Text:
    """Return what a policy is called.

    Args:
        code: as `stats.uplift.recommending` names it; ``all:2`` is the third arm for everybody.
        words: with the arms' names.
        best: place of the best single arm.
    """
    if code.startswith("all:"):
        place = int(code[4:])
        return {
            "en": f"{words.name(place, 'en')} for all",
            "zh-CN": f"「{words.name(place, 'zh-CN')}」全量",
        }
    if code == "best_single" and best is not None:
        if not best:
            return {"en": "Best single choice: nobody", "zh-CN": "最佳单一选择：不发"}
        return {
            "en": f"Best single choice: {words.name(best, 'en')} for all",
            "zh-CN": f"最佳单一选择：「{words.name(best, 'zh-CN')}」全量",
        }
    return dict(_LABELS[code])


def method_texts(learned: Learned, found: Recommended, alpha: float, folds: int) -> list[Text]:
    """Return how it was computed."""
    chosen, prices, tried = found.choice.chosen, learned.prices, len(found.choice.candidates)
    level = f"{100 * (1 - alpha):g}%"
    out: list[Text] = [
        {
            "en": f"Effects by the {chosen.code} learner, chosen of {tried} by cross-fitted doubly "
            f"robust loss; {folds} folds, {learned.trial.rows:,} rows, {len(learned.columns)} attributes.",
            "zh-CN": f"效应由 {chosen.code} 学习器估计（从 {tried} 个中按交叉拟合双重稳健损失选出）；"
            f"{folds} 折，{learned.trial.rows:,} 行，{len(learned.columns)} 个属性。",
        },
        {
            "en": f"Every policy is valued on units that it was not fitted on, doubly robust, with {level} intervals; "
            + ("propensities are those of the log." if learned.logged else "propensities are the shares of the arms."),
            "zh-CN": f"每个策略都在未参与拟合的对象上以双重稳健法估值，{level} 区间；"
            + ("倾向概率来自日志。" if learned.logged else "倾向概率为各组占比。"),
        },
    ]
    if learned.currency is not None and prices.value != 1.0:
        value = {lang: figures.money(prices.value, learned.currency, lang=lang) for lang in LANGUAGES}
        own = prices.values is not None
        out.append(
            {
                "en": f"To choose by, an outcome is worth {value['en']} before offer costs"
                f"{' on average over the arms, each with its own mean' if own else ''}; offers cost what their "
                "redemptions do, contacts what they cost each.",
                "zh-CN": f"选择时，每次转化在扣除优惠成本前{'平均' if own else ''}价值 {value['zh-CN']}"
                f"{'（各组用各自均值）' if own else ''}；优惠成本按核销计，触达成本按次计。",
            }
        )
    if learned.earned is not None:
        out.append(
            {
                "en": "Policies are valued in what each member really earned: margin less redemptions and contact.",
                "zh-CN": "策略按每位会员的实际利润估值：毛利减去核销与触达成本。",
            }
        )
    return out
