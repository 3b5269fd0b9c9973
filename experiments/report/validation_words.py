"""The sentences of a validation, in English and Chinese."""

from __future__ import annotations

from experiments.report.document import Text
from stats.validation import MethodResult, Share

METHODS: dict[str, Text] = {
    "welch": {"en": "Welch t test", "zh-CN": "Welch t 检验"},
    "score": {"en": "Score test of proportions", "zh-CN": "比例得分检验"},
    "ratio_delta": {"en": "Ratio, delta method", "zh-CN": "比率 delta 方法"},
    "cuped": {"en": "CUPED", "zh-CN": "CUPED"},
    "lin": {"en": "Interacted regression (Lin)", "zh-CN": "交互回归（Lin）"},
    "post_stratified": {"en": "Post-stratified", "zh-CN": "事后分层"},
    "cluster_delta": {"en": "Clusters, delta method", "zh-CN": "按群组 delta 方法"},
    "cluster_cr2": {"en": "Clusters, CR2", "zh-CN": "群组稳健 CR2"},
    "rank": {"en": "Rank test", "zh-CN": "秩检验"},
    "bootstrap": {"en": "Bootstrap", "zh-CN": "自助法"},
    "peeked": {"en": "Fixed horizon, peeked", "zh-CN": "固定样本，中途偷看"},
    "group_sequential": {"en": "Group sequential", "zh-CN": "成组序贯"},
    "always_valid": {"en": "Always-valid", "zh-CN": "任意时刻有效"},
    "holm": {"en": "All together (Holm)", "zh-CN": "全部一起（Holm）"},
    "srm": {"en": "Sample ratio check", "zh-CN": "流量比例检查"},
}
READINGS: dict[str, Text] = {
    "as_promised": {"en": "as promised", "zh-CN": "符合承诺"},
    "too_many": {"en": "too many", "zh-CN": "过多"},
    "too_few": {"en": "fewer than promised: safe, but it gives power away", "zh-CN": "少于承诺：安全，但损失功效"},
    "no_promise": {"en": "within its level here, though nothing promises it", "zh-CN": "此处未超水平，但并无保证"},
    "not_computed": {"en": "not computed", "zh-CN": "未计算"},
}


def method_name(name: str) -> Text:
    """Return a method's name as people read it.

    >>> method_name("quantile 90%")["zh-CN"]
    '分位数 90%'
    """
    if name.startswith("quantile "):
        return {"en": name.capitalize(), "zh-CN": "分位数 " + name.removeprefix("quantile ")}
    return METHODS.get(name, {"en": name, "zh-CN": name})


def percent(share: Share | None) -> str:
    """Return a share in percent with its interval.

    >>> percent(Share(0.052, 0.0431, 0.0626, 2000)), percent(None)
    ('5.2% [4.3, 6.3]', '–')
    """
    if share is None or share.value is None or share.ci_low is None or share.ci_high is None:
        return "–"
    return f"{100 * share.value:.1f}% [{100 * share.ci_low:.1f}, {100 * share.ci_high:.1f}]"


def verdict(result: MethodResult, alpha: float) -> Text:
    """Say whether a method kept its promise about false alarms, and what it finds.

    >>> from stats.validation import share
    >>> nothing = Share(None, None, None, 0)
    >>> result = MethodResult(
    ...     metric="spend", method="welch", promise="level", reading="as_promised", simulations=2000, not_computed=0.0,
    ...     false_alarms=share(104, 2000), coverage=share(1896, 2000), power=nothing, wrong_sign=nothing,
    ...     effect_coverage=nothing, relative_coverage=nothing,
    ... )
    >>> verdict(result, 0.05)["en"]
    '5.2% [4.3, 6.3] false alarms: as promised.'
    """
    if result.reading == "not_computed":
        return {
            "en": "Not computed in any simulation: too few units or outcomes, or no variation.",
            "zh-CN": "所有模拟均无法计算：单元或结果太少，或没有变异。",
        }
    rate, reading = percent(result.false_alarms), READINGS[result.reading]
    english, chinese = f"{rate} false alarms: {reading['en']}", f"误报率 {rate}：{reading['zh-CN']}"
    if result.reading == "too_many":
        times = (result.false_alarms.value or 0.0) / alpha
        english, chinese = f"{english}, {times:.1f} times the level", f"{chinese}，为水平的 {times:.1f} 倍"
    english, chinese = english + ".", chinese + "。"
    if result.not_computed > 0:
        gap = f"{100 * result.not_computed:.1f}%"
        english += f" No answer in {gap} of simulations."
        chinese += f"{gap} 的模拟没有答案。"
    if result.power.value is not None and result.relative_effect is not None:
        found = f"{100 * result.power.value:.0f}%"
        effect = f"{100 * result.relative_effect:+.3g}%".replace("-", "−")
        english += f" Finds {effect} in {found} of experiments"
        chinese += f"效果为 {effect} 时，{found} 的实验能发现"
        if result.sample_used is not None:
            used = f"{100 * result.sample_used:.0f}%"
            english += f", after {used} of the units on average"
            chinese += f"，平均用去 {used} 的单元"
        english, chinese = english + ".", chinese + "。"
    return {"en": english, "zh-CN": chinese}
