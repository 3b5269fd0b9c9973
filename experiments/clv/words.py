"""The words of ``equipoise clv``, in both languages."""

from __future__ import annotations

SEGMENTS: dict[str, dict[str, str]] = {
    "key_value": {"en": "Important, loyal", "zh-CN": "重要价值客户"},
    "key_develop": {"en": "Important, to develop", "zh-CN": "重要发展客户"},
    "key_keep": {"en": "Important, to keep", "zh-CN": "重要保持客户"},
    "key_win_back": {"en": "Important, to win back", "zh-CN": "重要挽留客户"},
    "general_value": {"en": "Ordinary, loyal", "zh-CN": "一般价值客户"},
    "general_develop": {"en": "Ordinary, to develop", "zh-CN": "一般发展客户"},
    "general_keep": {"en": "Ordinary, to keep", "zh-CN": "一般保持客户"},
    "general_win_back": {"en": "Ordinary, to win back", "zh-CN": "一般挽留客户"},
}
"""Code of ``stats.rfm.SEGMENTS`` → its name, in the order in which they are shown."""

TEXTS: dict[str, dict[str, str]] = {
    "head": {
        "en": "{members:,} members, {orders:,} orders from {first} to {until}; {returned:.1%} ordered on a second day",
        "zh-CN": "{members:,} 位会员，{first} 至 {until} 共 {orders:,} 笔订单；{returned:.1%} 有第二个下单日",
    },
    "purchases": {
        "en": "Expected in the next {days} days: {estimate:,.0f} orders{interval}",
        "zh-CN": "未来 {days} 天预计 {estimate:,.0f} 笔订单{interval}",
    },
    "value": {"en": ", worth {estimate:,.2f}{interval}", "zh-CN": "，价值 {estimate:,.2f}{interval}"},
    "interval": {"en": " ({low} to {high})", "zh-CN": "（{low} 至 {high}）"},
    "alive": {
        "en": "Still active: about {alive:,.0f} members ({share:.1%})",
        "zh-CN": "仍活跃：约 {alive:,.0f} 位会员（{share:.1%}）",
    },
    "left_out": {"en": "Left out: {rows}", "zh-CN": "未计入：{rows}"},
    "segments": {"en": "By recency, frequency and money", "zh-CN": "按 RFM 分层"},
    "segment": {"en": "Group", "zh-CN": "分层"},
    "members": {"en": "Members", "zh-CN": "会员数"},
    "active": {"en": "Active", "zh-CN": "活跃概率"},
    "orders": {"en": "Orders ahead", "zh-CN": "预计订单"},
    "worth": {"en": "Value ahead", "zh-CN": "预计价值"},
    "model": {"en": "The models", "zh-CN": "模型"},
    "parameter": {"en": "Parameter", "zh-CN": "参数"},
    "estimate": {"en": "Estimate", "zh-CN": "估计值"},
    "error": {"en": "Std. error", "zh-CN": "标准误"},
    "check": {
        "en": "Checked: learned until {until}, foretold {days} days after: {foretold:,.0f} orders; came: {real:,.0f}",
        "zh-CN": "检验：用 {until} 及之前的订单学习，预测其后 {days} 天：{foretold:,.0f} 笔；实际 {real:,.0f} 笔",
    },
    "check_value": {
        "en": "; value foretold: {foretold:,.2f}, came: {real:,.2f}",
        "zh-CN": "；预测价值 {foretold:,.2f}，实际 {real:,.2f}",
    },
    "repeats": {"en": "Repeats before", "zh-CN": "此前复购次数"},
    "foretold": {"en": "Foretold a member", "zh-CN": "人均预测"},
    "real": {"en": "Came a member", "zh-CN": "人均实际"},
    "unchecked": {
        "en": "Not checked: fewer than two times {days} days of orders",
        "zh-CN": "未检验：订单历史不足 {days} 天的两倍",
    },
    "written": {"en": "{members:,} members written to {path}", "zh-CN": "{members:,} 位会员已写入 {path}"},
}

LEFT_OUT: dict[str, dict[str, str]] = {
    "without a unit": {"en": "without a unit", "zh-CN": "缺会员"},
    "without a time": {"en": "without a time", "zh-CN": "缺时间"},
    "without a value": {"en": "without a value", "zh-CN": "缺金额"},
    "of negative value": {"en": "of negative value", "zh-CN": "金额为负"},
    "after the day of looking": {"en": "after the day of looking", "zh-CN": "晚于观察日"},
}

CAUTIONS: dict[str, dict[str, str]] = {
    "not_bounded": {
        "en": "The orders do not bound the model (a parameter runs away): no interval is given.",
        "zh-CN": "订单数据不足以确定模型（有参数无界）：预计订单可用，但不给出区间。",
    },
    "no_spend": {
        "en": "Too few repeat orders of different value for a model of spend: orders only are foretold.",
        "zh-CN": "金额各异的复购订单太少，无法建立消费模型：只预测订单数。",
    },
    "spend_not_bounded": {
        "en": "The orders' values do not bound the model of spend: the interval of the value is too narrow.",
        "zh-CN": "订单金额不足以确定消费模型：价值的区间偏窄。",
    },
    "correlated": {
        "en": "Members who order more often spend {sign} an order (correlation {correlation:+.2f}); the model of spend "
        "takes the two to be unrelated, so values of frequent members are less sure.",
        "zh-CN": "下单越频繁的会员，客单价越{sign}（相关系数 {correlation:+.2f}）；消费模型假定两者无关，"
        "高频会员的价值更不确定。",
    },
    "short": {
        "en": "The horizon of {days} days is longer than the orders' history ({history} days): this is extrapolation.",
        "zh-CN": "预测期 {days} 天长于订单历史（{history} 天）：属于外推。",
    },
    "stray": {
        "en": "{n:,} of the orders came {gap:,} days or more after all others: if their dates are wrong, correct them, "
        "or name the day of looking with --until {before}.",
        "zh-CN": "有 {n:,} 笔订单比其他订单晚 {gap:,} 天以上：若日期有误，请更正，或用 --until {before} 指定观察日。",
    },
    "off": {
        "en": "In the check {ratio:.0%} of the orders that came had been foretold: read the expected orders with that.",
        "zh-CN": "检验中预测订单为实际的 {ratio:.0%}：阅读预计订单时请考虑这一偏差。",
    },
}


def say(texts: dict[str, dict[str, str]], key: str, lang: str, **values: object) -> str:
    """Return a text in a language, filled in.

    >>> say(TEXTS, "orders", "zh-CN")
    '预计订单'
    """
    return texts[key][lang].format(**values)
