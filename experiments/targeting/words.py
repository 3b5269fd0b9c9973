"""The sentences of an audience, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from experiments.report import figures
from experiments.targeting.document import Audience, Text
from experiments.uplift.document import Recommendation

LANGUAGES = ("en", "zh-CN")


def sentence_of(document: Audience, found: Recommendation, warnings: Sequence[Text]) -> Audience:
    """Return the document with its sentence and its warnings."""
    sentence = {lang: _sentence(document, found, lang) for lang in LANGUAGES}
    return msgspec.structs.replace(document, sentence=sentence, warnings=list(warnings))


def gain_text(value: float, found: Recommendation, lang: str) -> str:
    """Return what is expected to be gained: money, or where nothing has a price the outcome itself."""
    if found.currency is not None:
        return figures.money(value, found.currency, lang=lang)
    label = found.outcome_label.get(lang) or found.outcome_label.get("en") or found.outcome
    return f"{figures.plain(value, 1)} {label}"


def cost_text(value: float, currency: str | None, lang: str) -> str:
    """Return an amount of a budget."""
    return figures.money(value, currency, lang=lang) if currency else figures.plain(value, 2)


def _sentence(document: Audience, found: Recommendation, lang: str) -> str:
    gain = gain_text(document.predicted_gain, found, lang)
    spent = cost_text(document.spent, document.currency, lang)
    given = [arm for arm in document.arms if arm.members > arm.explored]
    names = [(arm.name.get(lang) or arm.name.get("en") or arm.arm, arm.members - arm.explored) for arm in given]
    within = ""
    if document.budget is not None:
        budget = cost_text(document.budget, document.currency, lang)
        within = f" of a budget of {budget}" if lang == "en" else f"（预算 {budget}）"
    if not given:
        return _to_nobody(document, within, lang)
    if lang == "en":
        luck = f", and let lots decide for {document.explored:,} more, to learn from" if document.explored else ""
        what = ", ".join(f"{name} to {members:,}" for name, members in names)
        basis = "if all is redeemed" if document.basis == "liability" else "as expected"
        return (
            f"Send {what} of {document.rows:,}{luck}: expected to earn {gain} more than sending nothing, at {spent} "
            f"{basis}{within}."
        )
    luck = f"，另有 {document.explored:,} 人随机探索" if document.explored else ""
    what = "，".join(f"向 {members:,} 人发放「{name}」" for name, members in names)
    basis = "全部核销时" if document.basis == "liability" else "预计"
    return f"共 {document.rows:,} 人，{what}{luck}：与不发相比预计多得 {gain}，{basis}成本 {spent}{within}。"


def _to_nobody(document: Audience, within: str, lang: str) -> str:
    """Return why the model gives nobody an offer: none pays, or none can be had within the limits, or lots decide."""
    drawn, rows = document.explored, document.rows
    if drawn and document.explore >= 1:
        return (
            f"Lots decide for {drawn:,} of these {rows:,} what they get, to learn from; no model chooses."
            if lang == "en"
            else f"这 {rows:,} 人中 {drawn:,} 人随机探索，不按模型选择。"
        )
    wanted = document.reasons.get("budget", 0)
    if lang == "en":
        why = "no offer is expected to earn what it costs"
        if wanted:
            within = within.replace(" of", " with", 1)
            why = f"{wanted:,} would be worth an offer, but budget and stocks buy none for them{within}"
        luck = f"; lots decide for {drawn:,}, to learn from" if drawn else ""
        return f"Send nobody of these {rows:,} anything: {why}{luck}."
    why = f"有 {wanted:,} 人值得发放，但预算与库存都不够{within}" if wanted else "没有任何优惠预计能覆盖成本"
    luck = f"；另有 {drawn:,} 人随机探索" if drawn else ""
    return f"这 {rows:,} 人建议都不发：{why}{luck}。"


def warnings_of(document: Audience, found: Recommendation) -> list[Text]:
    """Return what a reader should know beside the figures."""
    told: list[Text] = []
    if document.policy == "single":
        told.append(
            {
                "en": "There was no evidence that members respond differently, so everybody counts alike: where the "
                "budget does not suffice for all, a hash says who is first.",
                "zh-CN": "无差异化证据：没有证据表明会员的反应不同，因此一视同仁；预算不足时由哈希决定先后。",
            }
        )
    if document.budget is not None and not any(arm.cost_each for arm in document.arms):
        told.append(
            {
                "en": "Nothing says what an offer costs, so the budget bounds nothing.",
                "zh-CN": "没有优惠成本，预算不起任何限制作用。",
            }
        )
    if any(document.missing.values()):
        listed = ", ".join(f"{name} ({count:,})" for name, count in document.missing.items())
        told.append(
            {
                "en": f"Not known of some members, who are scored without it: {listed}.",
                "zh-CN": f"部分会员缺少以下属性，按缺失处理：{listed}。",
            }
        )
    if document.explored:
        told.append(
            {
                "en": f"{document.explored:,} members were drawn at random whatever the model says; the column "
                "propensity says with which probability each got what it got.",
                "zh-CN": f"{document.explored:,} 人为随机探索（不按模型）；propensity 列为各自得到该结果的概率。",
            }
        )
    told.append(
        {
            "en": "What is expected was learned on another campaign. Test it: draft the follow-up experiment before "
            "relying on it.",
            "zh-CN": "预计值来自以往活动，使用前请先创建后续实验进行验证。",
        }
    )
    if not found.causal:
        raise ValueError("a recommendation that bears no causal words has no audience")
    return told
