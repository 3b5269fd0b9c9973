"""The words of the programme's return, in both languages."""

from __future__ import annotations

Text = dict[str, str]

NO_UNITS: Text = {
    "en": "Nobody can be compared yet: members of this holdout, and members whom the programme reached, are needed.",
    "zh-CN": "尚无可比较的会员：需要全局对照组会员和被营销触达的会员。",
}
BROKEN_SPLIT: Text = {
    "en": "The two sides are not as large as the holdout's share says (p = {p:.1e}): one loses members that the other "
    "keeps, so nothing is read from them. Look for decisions that were not logged.",
    "zh-CN": "两侧人数与对照组比例不符（p = {p:.1e}）：有一侧丢失了会员，因此不读取结果。请检查未记录的决策。",
}
EARNED: Text = {
    "en": "The programme earned {total} {currency} more than without it ({low} to {high}).",
    "zh-CN": "整体营销比不营销多赚 {total} {currency}（{low} 至 {high}）。",
}
LOST: Text = {
    "en": "The programme lost {total} {currency} against doing nothing ({low} to {high}).",
    "zh-CN": "整体营销比不营销少赚 {total} {currency}（{low} 至 {high}）。",
}
UNCLEAR: Text = {
    "en": "Unclear: between {low} and {high} {currency} against doing nothing. {needed}",
    "zh-CN": "不明确：与不营销相比在 {low} 至 {high} {currency} 之间。{needed}",
}
NEEDED: Text = {
    "en": "To find a difference of {difference} a member, hold out {needed:,} members (now {held:,}).",
    "zh-CN": "要检出每位会员 {difference} 的差异，需对照 {needed:,} 位会员（现有 {held:,}）。",
}
TOO_MANY: Text = {
    "en": "To find a difference of {difference} a member, {needed:,} members would have to be held out, more than "
    "there are: let more members come, or take it that a difference this small stays unknown.",
    "zh-CN": "要检出每位会员 {difference} 的差异，需对照 {needed:,} 位会员，多于现有会员：请等待更多会员进入，"
    "或接受如此小的差异无法得知。",
}
NOTES: list[Text] = [
    {
        "en": "Only the global control group can say what the whole programme earns: adding up experiments counts what "
        "offers take from each other twice.",
        "zh-CN": "只有全局对照组能说明整体营销的收益：把各实验相加会重复计算优惠之间的相互替代。",
    },
    {
        "en": "Compared are members of the holdout who would have been enrolled, by the same hash, and those who were; "
        "orders count from a member's first decision on.",
        "zh-CN": "比较对象：对照组中按同一哈希本应进入实验的会员，与实际进入的会员；订单自会员首次决策起计算。",
    },
    {
        "en": "Control groups inside experiments belong to the programme: they are reached by its other offers.",
        "zh-CN": "各实验内的对照组属于营销整体：他们会收到其他优惠。",
    },
]
TEXTS: dict[str, Text] = {
    "title": {"en": "Return of the programme", "zh-CN": "整体营销回报"},
    "figure": {"en": "Figure", "zh-CN": "指标"},
    "estimate": {"en": "Estimate", "zh-CN": "估计值"},
    "interval": {"en": "{level:.0%} interval", "zh-CN": "{level:.0%} 置信区间"},
    "profit": {"en": "Profit", "zh-CN": "利润"},
    "profit_per_member": {"en": "Profit a member", "zh-CN": "人均利润"},
    "extra_margin": {"en": "Extra margin", "zh-CN": "增量毛利"},
    "extra_buyers": {"en": "Extra buyers", "zh-CN": "增量购买人数"},
    "cost": {"en": "Cost", "zh-CN": "成本"},
    "roi": {"en": "ROI", "zh-CN": "投资回报率（ROI）"},
    "month": {"en": "Came in", "zh-CN": "进入月份"},
    "held_out": {"en": "Held out", "zh-CN": "对照"},
    "reached": {"en": "Reached", "zh-CN": "触达"},
    "members": {
        "en": "{held:,} members held out ({share}), {reached:,} reached, since {since}",
        "zh-CN": "对照 {held:,} 位会员（{share}），触达 {reached:,} 位，自 {since} 起",
    },
    "left_out": {
        "en": "Not compared: {would_not:,} held-out members who would have been enrolled nowhere; left out: {both:,} "
        "seen on both sides",
        "zh-CN": "未比较：{would_not:,} 位本不会进入任何实验的对照会员；剔除：{both:,} 位两侧都出现的会员",
    },
    "linked": {
        "en": "{linked:,} members are known by several ids and count once; {crossed:,} of them were met on both sides "
        "and stay where they were first, which makes the difference a little smaller.",
        "zh-CN": "{linked:,} 位会员有多个标识，只计一次；其中 {crossed:,} 位两侧都出现，按首次决策归属，"
        "这会使差异略微偏小。",
    },
    "detectable": {
        "en": "These members find a profit of {detectable} a member with 80 % power.",
        "zh-CN": "现有人数能以 80% 的功效检出每位会员 {detectable} 的利润。",
    },
    "none": {
        "en": "No holdout is defined: create one (kind: holdout) before experiments start; later is too late for them.",
        "zh-CN": "尚未定义全局对照组：请在实验开始前创建（kind: holdout），事后无法补救。",
    },
}


def fill(text: Text, **values: object) -> Text:
    """Return a text with its places filled, in every language.

    >>> fill({"en": "{n} left"}, n=3)
    {'en': '3 left'}
    """
    return {lang: words.format(**values) for lang, words in text.items()}
