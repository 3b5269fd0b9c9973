"""What the figures of a policy that learns say, in sentences, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from experiments.report import figures
from experiments.report.bandit.document import BanditReward, Gain, Mask, PolicyValue, Value, VersionLine, Words

LANGUAGES = ("en", "zh-CN")
POLICIES: dict[str, Words] = {
    "igw": {"en": "Inverse-gap weighting", "zh-CN": "反差距加权"},
    "thompson": {"en": "Thompson sampling", "zh-CN": "汤普森采样"},
    "linucb": {"en": "Upper confidence bound (LinUCB)", "zh-CN": "置信上界（LinUCB）"},
    "greedy": {"en": "Greedy with a floor", "zh-CN": "贪心（带下限）"},
    "softmax": {"en": "Softmax", "zh-CN": "Softmax"},
    "beta_thompson": {"en": "Beta Thompson sampling", "zh-CN": "Beta 汤普森采样"},
    "normal_thompson": {"en": "Normal Thompson sampling", "zh-CN": "正态汤普森采样"},
    "epsilon_greedy": {"en": "ε-greedy", "zh-CN": "ε-贪心"},
    "ucb1": {"en": "UCB1", "zh-CN": "UCB1"},
    "popularity": {"en": "Popularity", "zh-CN": "热门度"},
    "clusters": {"en": "Clusters", "zh-CN": "聚类"},
    "tree": {"en": "Decision tree", "zh-CN": "决策树"},
    "uniform": {"en": "Even split", "zh-CN": "均匀分配"},
}
STATES: dict[str, Words] = {
    "candidate": {"en": "Being checked", "zh-CN": "检查中"},
    "blocked": {"en": "Blocked by gate", "zh-CN": "被准入检查拦截"},
    "waiting": {"en": "Awaiting approval", "zh-CN": "等待批准"},
    "ramping": {"en": "Ramping up", "zh-CN": "逐步放量"},
    "live": {"en": "Live", "zh-CN": "生效中"},
    "replaced": {"en": "Replaced", "zh-CN": "已被替换"},
    "rolled_back": {"en": "Rolled back", "zh-CN": "已回滚"},
    "rejected": {"en": "Rejected", "zh-CN": "已否决"},
}
QUARTER_WORDS: dict[str, Words] = {
    "1/4": {"en": "lowest quarter", "zh-CN": "最低四分之一"},
    "2/4": {"en": "second quarter", "zh-CN": "第二个四分之一"},
    "3/4": {"en": "third quarter", "zh-CN": "第三个四分之一"},
    "4/4": {"en": "highest quarter", "zh-CN": "最高四分之一"},
    "…": {"en": "all others", "zh-CN": "其余"},
    "": {"en": "not known", "zh-CN": "未知"},
}
_WHYS: tuple[tuple[str, str], ...] = (
    (r"nothing has matured yet", "还没有决策的观察窗口结束"),
    (r"too few units: (\d+) of (\d+) needed", r"单元太少：需要 \2 个，现有 \1 个"),
    (r"all rewards are alike", "所有收益取值相同"),
    (r"no version has drawn yet: .*", "尚无版本参与分配：会员有资格获得的每个方案机会均等"),
    (r"no decision of the control group has matured yet", "对照组还没有决策的观察窗口结束"),
    (r"too few outcomes in the control group: (\d+) of (\d+) needed", r"对照组的转化太少：需要 \2 次，现有 \1 次"),
    (r"too few outcomes in the policy: (\d+) of (\d+) needed", r"策略组的转化太少：需要 \2 次，现有 \1 次"),
    (r"it was not drawn yet", "尚未被抽中"),
)


GATE: dict[str, Words] = {
    "harm": {"en": "it would earn less than the live version", "zh-CN": "收益会低于生效中的版本"},
    "not_better": {"en": "no proof that it earns more (gate: strict)", "zh-CN": "未证明收益更高（严格准入）"},
    "thin": {"en": "the log says too little about it", "zh-CN": "日志对它的说明力不足"},
    "drift": {"en": "a feature has drifted", "zh-CN": "有特征发生漂移"},
    "missing_probability": {"en": "decisions lack their probability", "zh-CN": "有决策缺少抽取概率"},
    "behind_control": {
        "en": "the live version earns less than the control group",
        "zh-CN": "生效中的版本收益低于对照组",
    },
}


def days(number: float) -> str:
    """Return a length of time in English.

    >>> days(1.0), days(0.5)
    ('1 day', '0.5 days')
    """
    return f"{number:g} day" + ("" if number == 1 else "s")


def gate_words(code: str) -> Words:
    """Return why the gate blocked a version.

    >>> gate_words("drift")["en"], gate_words("other")
    ('a feature has drifted', {'en': 'other'})
    """
    return GATE.get(code, {"en": code.replace("_", " ")})


def why_words(why: str | None, lang: str) -> str:
    """Return why a figure is missing, in a language; one that is not known stays as it is.

    >>> why_words("too few units: 3 of 30 needed", "zh-CN"), why_words(None, "en")
    ('单元太少：需要 30 个，现有 3 个', '')
    """
    if not why or not lang.startswith("zh"):
        return why or ""
    for pattern, chinese in _WHYS:
        if re.fullmatch(pattern, why):
            return re.sub(pattern, chinese, why)
    return why


def amount(value: float | None, reward: BanditReward, currency: str | None, *, like: float | None = None) -> str:
    """Return a reward per decision as people read it."""
    return figures.amount(value, reward.unit, currency, like=like)


def change(
    value: float | None, reward: BanditReward, currency: str | None, lang: str, *, like: float | None = None
) -> str:
    """Return a difference of two rewards, with its sign."""
    return figures.change(value, reward.unit, currency, like=like, lang=lang)


def interval(value: Value, reward: BanditReward, currency: str | None, lang: str) -> str:
    """Return the interval of a difference; its unit stands once."""
    low, high = (change(v, reward, currency, lang, like=value.estimate) for v in (value.ci_low, value.ci_high))
    return low.removesuffix(figures.points(lang)) + (" 至 " if lang.startswith("zh") else " to ") + high


def total(value: float | None, reward: BanditReward, currency: str | None, lang: str) -> str:
    """Return what was gained so far, without a sign: money, or outcomes where shares are counted."""
    if value is None:
        return "–"
    if reward.unit == "money":
        return figures.whole_money(value, currency, lang)
    return figures.plain(abs(value), 0)


def sentence(gain: Gain, reward: BanditReward, currency: str | None, *, day: int | None, level: str) -> Words:
    """Return what the report says first.

    Args:
        gain: the figures.
        reward: what is earned.
        currency: ISO 4217 code.
        day: days since the start, 1 on the first.
        level: of the intervals, such as ``95%``.
    """
    if gain.standing == "cold":
        days = f", day {day}" if day else ""
        tage = f"，第 {day} 天" if day else ""
        return {
            "en": f"Still exploring{days}: too early. Every variant that a member is eligible for has the same chance; "
            "no version has learned yet.",
            "zh-CN": f"仍在探索{tage}：为时尚早。会员有资格获得的每个方案机会均等，尚无学习到的版本。",
        }
    if gain.standing == "early":
        why = gain.gain.why
        return {
            "en": f"Too early to say what the policy earns: {why}.",
            "zh-CN": f"为时尚早，还不能说策略带来多少收益：{why_words(why, 'zh-CN')}。",
        }
    said = {}
    for lang in LANGUAGES:
        zh = lang != "en"
        policy = amount(gain.policy.estimate, reward, currency)
        control = amount(gain.control.estimate, reward, currency, like=gain.policy.estimate)
        more = change(gain.gain.estimate, reward, currency, lang).lstrip("+−")
        within = interval(gain.gain, reward, currency, lang)
        so_far = total(gain.total.estimate, reward, currency, lang)
        outcomes = (
            "" if reward.unit == "money" else ("次转化" if zh else " conversions" if reward.unit == "share" else "")
        )
        split = (
            ("均匀分配" if zh else "an even split")
            if gain.control_split == "uniform"
            else ("按权重分配" if zh else "the fixed split")
        )
        if gain.standing == "unclear":
            said[lang] = (
                f"策略每次决策的收益为 {policy}，{split}为 {control}：尚无明确差异（{level} 区间 {within}）。"
                if zh
                else f"The policy earns {policy} per decision against {control} for {split}: "
                f"no clear difference yet ({level} interval {within})."
            )
        elif gain.standing == "ahead":
            said[lang] = (
                f"策略每次决策的收益为 {policy}，{split}为 {control}：多 {more}（{level} 区间 {within}），"
                f"迄今共多 {so_far}{outcomes}。"
                if zh
                else f"The policy earns {policy} per decision against {control} for {split}: {more} more "
                f"({level} interval {within}), or {so_far}{outcomes} so far."
            )
        else:
            said[lang] = (
                f"策略每次决策的收益为 {policy}，{split}为 {control}：少 {more}（{level} 区间 {within}），"
                f"迄今共少 {so_far}{outcomes}。请回滚或停止。"
                if zh
                else f"The policy earns {policy} per decision against {control} for {split}: {more} less "
                f"({level} interval {within}), or {so_far}{outcomes} lost so far. Roll it back or stop it."
            )
    return said


def reasons(
    policies: Sequence[PolicyValue],
    versions: Sequence[VersionLine],
    masks: Sequence[Mask],
    reward: BanditReward,
    currency: str | None,
    names: Mapping[str, Words],
) -> list[Words]:
    """Return what else there is to know, a sentence each: whether choosing matters, the next version, masks."""
    said: list[Words] = []
    for policy in policies:
        against = policy.against_live
        if against is None or against.ci_low is None or against.ci_high is None:
            continue
        if policy.code == "best_single":
            said.insert(0, _choosing(policy, _reversed(against), reward, currency, names))
        elif policy.code == "candidate":
            said.append(_candidate(policy, against, reward, currency))
    newest = versions[-1] if versions else None
    if newest is not None and newest.state == "blocked":
        en = ", ".join(reason.get("en", "") for reason in newest.reasons)
        zh = "、".join(reason.get("zh-CN", reason.get("en", "")) for reason in newest.reasons)
        said.append(
            {
                "en": f"v{newest.version} was blocked by the gate{': ' + en if en else ''}.",
                "zh-CN": f"v{newest.version} 被准入检查拦截{'：' + zh if zh else ''}。",
            }
        )
    for mask in masks:
        name = names.get(mask.variant, {})
        said.append(
            {
                "en": f"{name.get('en', mask.variant)} is taken out: {mask.reason}",
                "zh-CN": f"{name.get('zh-CN', mask.variant)} 已被停用：{mask.reason}",
            }
        )
    return said


def _choosing(
    best: PolicyValue, found: Value, reward: BanditReward, currency: str | None, names: Mapping[str, Words]
) -> Words:
    low, high = found.ci_low or 0.0, found.ci_high or 0.0
    said = {}
    for lang in LANGUAGES:
        name = names.get(best.variant or "", {}).get(lang) or best.variant or ""
        more = change(found.estimate, reward, currency, lang).lstrip("+−")
        within = interval(found, reward, currency, lang)
        zh = lang != "en"
        if low > 0:
            said[lang] = (
                f"按会员选择是值得的：比给所有人“{name}”每次决策多 {more}（{within}）。"
                if zh
                else f"Choosing per member matters: it beats {name} for everyone by {more} ({within})."
            )
        elif high < 0:
            said[lang] = (
                f"给所有人“{name}”会更好：每次决策多 {more}（{within}）。"
                if zh
                else f"{name} for everyone would earn more: by {more} ({within})."
            )
        else:
            said[lang] = (
                f"与给所有人“{name}”相比尚无明确差异（{within}）。"
                if zh
                else f"Not clearly different from {name} for everyone yet ({within})."
            )
    return said


def _candidate(candidate: PolicyValue, found: Value, reward: BanditReward, currency: str | None) -> Words:
    low, high = found.ci_low or 0.0, found.ci_high or 0.0
    said = {}
    for lang in LANGUAGES:
        zh = lang != "en"
        by = change(found.estimate, reward, currency, lang)
        within = interval(found, reward, currency, lang)
        v = f"v{candidate.version}"
        if low > 0:
            said[lang] = (
                f"{v} 在已记录的数据上更好：比当前版本 {by}（{within}）。"
                if zh
                else f"{v} looks better in logged data: {by} against the live one ({within})."
            )
        elif high < 0:
            said[lang] = (
                f"{v} 在已记录的数据上更差：比当前版本 {by}（{within}）。"
                if zh
                else f"{v} looks worse in logged data: {by} against the live one ({within})."
            )
        else:
            said[lang] = (
                f"{v} 与当前版本在已记录的数据上没有明确差异（{within}）。"
                if zh
                else f"{v} is not clearly different from the live one in logged data ({within})."
            )
    return said


def _reversed(value: Value) -> Value:
    """Return a difference the other way round."""
    turned = [None if v is None else -v for v in (value.estimate, value.ci_high, value.ci_low)]
    return Value(estimate=turned[0], std_error=value.std_error, ci_low=turned[1], ci_high=turned[2], why=value.why)


def methods(gain: Gain, reward: BanditReward, *, held_out: bool = True) -> list[Words]:
    """Return how the figures came about."""
    always = gain.always_valid
    return [
        {
            "en": "The control group is drawn by a hash of its own and never learned from. Gain: difference of the two "
            "groups' mean reward per decision, interval clustered by unit"
            + (", valid at every look." if always else "; the band of the curve holds at all days at once."),
            "zh-CN": "对照组由独立的哈希抽取，从不用于学习。增益为两组每次决策平均收益之差，区间按单元聚类"
            + ("，随时有效。" if always else "；曲线的区间带对所有日期同时有效。"),
        },
        {
            "en": "What each variant earns: augmented inverse propensity weighting with the probabilities that were "
            "drawn from (uniform weights; adaptive ones and always-valid intervals are in the JSON). Plain means would "
            "mislead, because the policy chose who got what; for the same reason variants have no split check.",
            "zh-CN": "各方案的收益：用实际抽取所依据的概率做增强的逆概率加权（等权；自适应加权和随时有效区间见 JSON）。"
            "由于由策略决定谁得到什么，简单均值会误导；出于同样原因，不检查方案之间的流量比例。",
        },
        {
            "en": "Other policies: doubly robust, paired with the live one, clustered by unit, weights not clipped; on "
            + (
                "decisions that no version has learned from: the control group's, and later ones than the newest knew."
                if held_out
                else "all matured decisions, because few were not learned from: new versions look better than they are."
            ),
            "zh-CN": "其他策略：双重稳健估计，与当前版本配对比较，按单元聚类，权重不截断；"
            + (
                "只用没有任何版本学习过的决策：对照组的，以及晚于最新版本所知的。"
                if held_out
                else "使用所有窗口已结束的决策，因为未被学习过的太少：新版本看起来会比实际更好。"
            ),
        },
        {
            "en": f"A decision counts once its window of {days(reward.window_days)} is over; an outcome belongs to "
            + ("the unit's last decision before it." if reward.attribution == "last" else "every decision before it."),
            "zh-CN": f"决策在其 {reward.window_days:g} 天窗口结束后计入；结果归属于"
            + ("该单元在此之前的最后一次决策。" if reward.attribution == "last" else "在此之前的所有决策。"),
        },
    ]
