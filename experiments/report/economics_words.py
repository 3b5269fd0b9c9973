"""The sentences of "Did the offer pay for itself?", in English and Chinese, with money in them."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report import figures
from experiments.report.document import Plan, Text
from experiments.report.economics_document import Figure, OfferEconomics
from experiments.report.words import say

LANGUAGES = ("en", "zh-CN")
PAID: Text = {
    "en": "{name} returned {back} of extra margin for each {one} it cost.",
    "zh-CN": "“{name}”每花 {one} 带回 {back} 增量毛利。",
}
PAID_FREE: Text = {
    "en": "{name} earned {profit} more than control; it cost next to nothing.",
    "zh-CN": "“{name}”比对照组多赚 {profit}，几乎没有成本。",
}
LOST: Text = {
    "en": "{name} lost money: {profit} after costs of {cost}{sure}.",
    "zh-CN": "“{name}”亏损：花费 {cost} 后利润 {profit}{sure}。",
}
LOST_WITH_MOST: Text = {
    "en": "{name} brought the most extra buyers and still lost money: {profit} after costs of {cost}{sure}.",
    "zh-CN": "“{name}”带来的增量买家最多却仍然亏损：花费 {cost} 后利润 {profit}{sure}。",
}
SURE: Text = {
    "en": "; {share} of its redemptions went to members who would have bought anyway",
    "zh-CN": "；{share} 的核销发给了本来就会下单的会员",
}
OPEN: Text = {
    "en": "Whether {name} pays for itself is unclear: its profit lies between {low} and {high}.",
    "zh-CN": "“{name}”是否划算尚不确定：利润在 {low} 至 {high} 之间。",
}
DIP: Text = {
    "en": "{name}: in days {first} to {last}, after the window, its members earned {less} less each than control's: "
    "purchases that the offer only moved forward. What is left of the gain is {net} a member.",
    "zh-CN": "“{name}”：窗口期之后（第 {first} 至 {last} 天）每名会员比对照组少赚 {less}：部分购买只是被优惠提前。"
    "净收益为每名会员 {net}。",
}
MORE: Text = {
    "en": "{name}: in days {first} to {last}, after the window, its members earned {more} more each than control's, "
    "which the profit above does not count.",
    "zh-CN": "“{name}”：窗口期之后（第 {first} 至 {last} 天）每名会员仍比对照组多赚 {more}，未计入上述利润。",
}
CUT: Text = {
    "en": "Profit is cut off at its {share} quantile, as in the scorecard; margin is that profit plus the cost.",
    "zh-CN": "利润按 {share} 分位数截尾，与记分卡一致；毛利为该利润加上成本。",
}
NAIVE: Text = {
    "en": "Were all its buyers counted as its own, {name} would show an ROI of {naive} instead of {roi}; control shows "
    "how many would have bought anyway.",
    "zh-CN": "若把所有买家都算作优惠带来的，“{name}”的 ROI 会显示为 {naive}，而不是 {roi}；"
    "对照组说明了有多少人本来就会购买。",
}


def sentences_of(offers: Sequence[OfferEconomics], plan: Plan) -> list[Text]:
    """Return what it comes to: who paid for itself, who lost money and why, who is unclear."""
    order = {"better": 0, "worse": 1, "unclear": 2}
    told = sorted((o for o in offers if o.reading in order), key=lambda o: order[o.reading])
    return [{lang: _sentence(offer, offers, plan, lang) for lang in LANGUAGES} for offer in told]


def _sentence(offer: OfferEconomics, offers: Sequence[OfferEconomics], plan: Plan, lang: str) -> str:
    name = _name(offer, plan, lang)
    profit = _money(offer.profit.estimate, plan, lang)
    if offer.reading == "better":
        if offer.roi.estimate is None:
            return say(PAID_FREE, lang).format(name=name, profit=profit.lstrip("+"))
        back = figures.money(1 + offer.roi.estimate, plan.currency, lang=lang)
        one = figures.money(1, plan.currency, lang=lang).removesuffix(".00")
        return say(PAID, lang).format(name=name, back=back, one=one)
    if offer.reading == "worse":
        share = _clipped(offer.sure_buyers.estimate)
        sure = say(SURE, lang).format(share=f"{100 * share:.0f}%") if share else ""
        cost = figures.whole_money(offer.cost or 0.0, plan.currency, lang)
        form = LOST_WITH_MOST if _brought_most(offer, offers) else LOST
        return say(form, lang).format(name=name, profit=profit, cost=cost, sure=sure)
    low, high = (_money(v, plan, lang) for v in (offer.profit.ci_low, offer.profit.ci_high))
    return say(OPEN, lang).format(name=name, low=low, high=high)


def notes_of(offers: Sequence[OfferEconomics], plan: Plan, *, winsorised_at: float | None = None) -> list[Text]:
    """Return what must be known beside: dips after the window, cut-off profits, and what the naive ROI would be."""
    notes: list[Text] = []
    for offer in offers:
        after = offer.after
        if after is None or after.after.estimate is None:
            continue
        form = DIP if _below(after.after) else MORE if _above(after.after) else None
        if form is not None:
            notes.append({lang: _dip(form, offer, plan, lang) for lang in LANGUAGES})
    flattered = _flattered(offers)
    if flattered is not None:
        naive, roi = (figures.percent(v) for v in (flattered.naive_roi, flattered.roi.estimate))
        named = {lang: _name(flattered, plan, lang) for lang in LANGUAGES}
        notes.append({lang: say(NAIVE, lang).format(name=named[lang], naive=naive, roi=roi) for lang in LANGUAGES})
    if winsorised_at is not None:
        notes.append({lang: say(CUT, lang).format(share=f"{100 * winsorised_at:g}%") for lang in LANGUAGES})
    return notes


def _flattered(offers: Sequence[OfferEconomics]) -> OfferEconomics | None:
    """Return the dearest offer that redemptions made dear: the one whose own books would mislead most."""
    shown = [
        o
        for o in offers
        if o.naive_roi is not None
        and o.roi.estimate is not None
        and o.naive_roi > o.roi.estimate
        and (o.redemption_cost or 0.0) > (o.contact_cost or 0.0)
    ]
    return max(shown, key=lambda o: o.cost or 0.0, default=None)


def _dip(form: Text, offer: OfferEconomics, plan: Plan, lang: str) -> str:
    after = offer.after
    if after is None or after.after.estimate is None:
        return ""
    size = figures.money(abs(after.after.estimate), plan.currency, lang=lang)
    return say(form, lang).format(
        name=_name(offer, plan, lang),
        first=f"{after.from_day + 1:g}",
        last=f"{after.to_day:g}",
        less=size,
        more=size,
        net="–"
        if after.net.estimate is None
        else figures.money(after.net.estimate, plan.currency, sign=True, lang=lang),
    )


def _below(figure: Figure) -> bool:
    return figure.ci_high is not None and figure.ci_high < 0


def _above(figure: Figure) -> bool:
    return figure.ci_low is not None and figure.ci_low > 0


def _brought_most(offer: OfferEconomics, offers: Sequence[OfferEconomics]) -> bool:
    """Return whether it brought more extra buyers than any other offer, and some beyond doubt."""
    mine = offer.extra_buyers.estimate
    others = [o.extra_buyers.estimate for o in offers if o is not offer]
    if mine is None or not others or not _above(offer.extra_buyers):
        return False
    return all(other is not None and other < mine for other in others)


def _clipped(share: float | None) -> float | None:
    return None if share is None else min(max(share, 0.0), 1.0)


def _name(offer: OfferEconomics, plan: Plan, lang: str) -> str:
    found = next((v for v in plan.variants if v.key == offer.variant), None)
    return say(found.name, lang) if found is not None and found.name else offer.variant


def _money(value: float | None, plan: Plan, lang: str) -> str:
    """Write a total with its sign and without decimals."""
    if value is None:
        return "–"
    text = figures.whole_money(value, plan.currency, lang)
    if round(value) == 0:
        return text
    return ("+" if value > 0 else figures.MINUS) + text
