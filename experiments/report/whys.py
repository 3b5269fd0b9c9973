"""Why a figure is missing or must not be read, in the reader's language.

A report's ``why`` is one stable English line, so that JSON, CSV and tests can rely on it; pages and the terminal
translate it here when they print it.
"""

from __future__ import annotations

import re

from stats.why import Why

_CHINESE: dict[Why, str] = {
    Why.NO_UNITS: "至少有一个方案没有单元",
    Why.TOO_FEW_UNITS: "单元太少：每个方案至少需要 2 个",
    Why.ZERO_VARIANCE: "没有变异：各方案内所有单元取值相同",
    Why.NO_OUTCOMES: "两个方案都还没有结果",
    Why.ALL_OUTCOMES: "两个方案的所有单元都已发生：没有变异",
    Why.ZERO_DENOMINATOR: "至少有一个方案的比率分母合计为零",
    Why.BASELINE_NEAR_ZERO: "相对变化无定义：对照组均值与零没有可辨差异",
    Why.BASELINE_NEGATIVE: "相对变化无定义：对照组均值为负",
    Why.TOO_FEW_EXPECTED: "单元太少：每个方案的应有单元至少为 5 个",
    Why.NO_WEIGHT: "有流量的方案不足两个：无从比较",
    Why.UNPLANNED_UNITS: "权重为零的方案中出现了单元",
    Why.NO_VARIANCE: "没有给出方差，也无法由均值推出",
    Why.TOO_FEW_FOR_COVARIATES: "至少有一个方案的单元太少，不足以使用这么多协变量",
    Why.TOO_FEW_CLUSTERS: "群组太少：每个方案至少需要 2 个",
    Why.REACHED_NEAR_ZERO: "各方案的触达比例没有可辨差异",
    Why.NOT_SEPARABLE: "该设计无法把此项与其他项区分开",
    Why.TOO_FEW_ASSIGNMENTS: "单元太少：随机分配只有一种可能",
    Why.BEYOND_THE_DATA: "单元太少，该分位数的区间会超出最小或最大值",
    Why.TIED_QUANTILE: "过多单元在该分位数处取值相同，无法给出区间",
    Why.HORIZON_NOT_REACHED: "至少有一个方案尚无单元被观察到期末",
    Why.NO_ESTIMATE: "没有可用的估计值",
    Why.NO_PRIOR: "没有先验：均值为零时相对效果没有尺度",
    Why.TOO_FEW_EXPERIMENTS: "历史实验太少，无法从中得出先验",
    Why.TOO_FEW_GROUPS: "估计值太少：至少需要 2 个",
    Why.NO_OVERLAP: "一个方案的所有单元都高于另一个方案，无法给出区间",
    Why.NO_RELATIVE: "该类型的指标没有相对变化",
    Why.NO_DECISIONS: "没有可评估的决策",
    Why.TOO_FEW_DECISIONS: "决策太少：至少需要来自不同单元的 2 个",
    Why.SAME_SCORES: "没有变异：所有决策的得分相同",
    Why.NO_SUPPORT: "该策略不会做出任何一个已记录的决策",
    Why.NEVER_ELIGIBLE: "没有人符合该方案的条件",
    Why.NEVER_DRAWN: "该方案从未被抽中",
    Why.COST_NEAR_ZERO: "该优惠比对照组多花的成本与零没有可辨差异",
    Why.NO_EXTRA_BUYERS: "增量购买人数与零没有可辨差异",
    Why.NO_REDEMPTIONS: "核销太少，无法与零区分",
    Why.NO_ORDERS: "至少有一个方案没有订单",
    Why.NO_EARLY_GAIN: "窗口期内的收益与零没有可辨差异",
}
FIRST_WEEK = "the first full week is not over: weekdays differ, so effects are not shown yet"
NO_LOOK = "no look yet: the outcome windows of nobody who entered on a whole day are over"
SPLIT_OFF = "the split is not as planned (SRM p {p}): find the cause before reading effects"
NOT_FOR_THIS_KIND = "not defined for this kind of metric"
_SENTENCES: dict[str, str] = {
    "not computed for clusters, switchbacks and factorial designs": "群组、轮转和析因设计不计算",
    "no column says what orders were worth": "没有列说明订单金额",
    "one send: no more units come": "仅一次发送：不再有新的单元",
    "ended: no more units come": "已结束：不再有新的单元",
    NOT_FOR_THIS_KIND: "该类型的指标不适用",
    **{why.text: chinese for why, chinese in _CHINESE.items() if why.text is not None},
    NO_LOOK: "尚无可看的数据：还没有任何整日进组会员的观察窗口结束",
    FIRST_WEEK: "首个完整周尚未结束：一周各天有差异，暂不展示效果",
}
_SPLIT = re.compile(re.escape(SPLIT_OFF).replace(r"\{p\}", "(?P<p>.+)"))


def why_text(why: str | None, lang: str) -> str:
    """Return a reason in a language; one that is not known stays as it is.

    >>> why_text("no outcomes in either variant yet", "zh-CN"), why_text("something else", "zh-CN"), why_text(None, "")
    ('两个方案都还没有结果', 'something else', '')
    """
    if not why or not lang.startswith("zh"):
        return why or ""
    if why in _SENTENCES:
        return _SENTENCES[why]
    split = _SPLIT.fullmatch(why)
    if split is not None:
        return f"会员未按计划比例分流（SRM p {split['p']}）：请先查明原因，再解读效果"
    return why
