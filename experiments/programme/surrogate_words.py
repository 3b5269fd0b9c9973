"""The words of the surrogate index, in both languages."""

from __future__ import annotations

Text = dict[str, str]

ASSUMPTIONS: list[Text] = [
    {
        "en": "Assumed: the offer works on the long outcome only through the early ones (surrogacy). Offers that pull "
        "orders forward, or change habits that no early metric shows, break this.",
        "zh-CN": "假定：优惠只通过早期指标影响长期结果（替代性）。提前消费的优惠，或改变了早期指标看不到的习惯的优惠，"
        "会破坏这一假定。",
    },
    {
        "en": "Assumed: early outcomes foretell the long one now as they did in the past experiments (comparability). "
        "Another season, price or kind of member breaks this.",
        "zh-CN": "假定：早期指标与长期结果的关系与过去的实验相同（可比性）。季节、价格或会员群体不同会破坏这一假定。",
    },
    {
        "en": "Known: the experiment is randomised.",
        "zh-CN": "已知：实验是随机的。",
    },
]
HELD: Text = {
    "en": "Held on {experiments} past experiments: what was foretold and what came differ no more than by chance "
    "(p = {p:.2f}).",
    "zh-CN": "在 {experiments} 个过去的实验上检验通过：预测与实际之差不超过随机波动（p = {p:.2f}）。",
}
DOUBTFUL: Text = {
    "en": "Do not rely on it: on {experiments} past experiments the long effects that came differ from those foretold "
    "by more than chance (p = {p:.1e}).",
    "zh-CN": "不可依赖：在 {experiments} 个过去的实验上，实际长期效应与预测之差超过随机波动（p = {p:.1e}）。",
}
UNCHECKED: Text = {
    "en": "Unchecked: {experiments} past experiment can be learned from; two are needed to check one by the other.",
    "zh-CN": "未检验：只有 {experiments} 个可学习的过去实验，至少需要两个才能互相检验。",
}
TEXTS: dict[str, Text] = {
    "title": {
        "en": "{experiment}: effect on {long} in {long_days} days, read from the first {early_days}",
        "zh-CN": "{experiment}：由前 {early_days} 天推断对 {long} 的 {long_days} 天效应",
    },
    "variant": {"en": "Variant", "zh-CN": "方案"},
    "foretold": {"en": "Foretold", "zh-CN": "预测"},
    "interval": {"en": "{level:.0%} interval", "zh-CN": "{level:.0%} 置信区间"},
    "past": {"en": "Past experiment", "zh-CN": "过去的实验"},
    "observed": {"en": "Came", "zh-CN": "实际"},
    "index": {
        "en": "Learned from {units:,} units; {early} explain {explained:.0%} of the variation of {long}.",
        "zh-CN": "由 {units:,} 个单位学习；{early} 解释 {long} 变异的 {explained:.0%}。",
    },
    "slope": {
        "en": "Observed on foretold: {slope:.2f} ± {error:.2f} (1 is right; below it the index promises too much).",
        "zh-CN": "实际对预测的斜率：{slope:.2f} ± {error:.2f}（1 为准确；低于 1 表示预测偏高）。",
    },
}


def fill(text: Text, **values: object) -> Text:
    """Return a text with its places filled, in every language.

    >>> fill({"en": "{n} left"}, n=3)
    {'en': '3 left'}
    """
    return {lang: sentence.format(**values) for lang, sentence in text.items()}
