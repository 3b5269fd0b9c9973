"""The report of a policy that learns in the terminal: the gain first, then whether to trust the log, then tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from experiments.report import figures
from experiments.report.bandit import words
from experiments.report.bandit.document import Bandit, PolicyValue, Value
from experiments.report.document import Report
from experiments.report.words import say

STANDING_STYLES = {
    "ahead": "bold bright_blue",
    "behind": "bold orange3",
    "unclear": "bold",
    "early": "bold yellow",
    "cold": "bold yellow",
}
POLICY_NAMES = {
    "candidate": {"en": "v{version}, the newest", "zh-CN": "v{version}（最新）"},
    "live": {"en": "v{version}, live", "zh-CN": "v{version}（生效中）"},
    "best_single": {"en": "{variant} for everyone", "zh-CN": "所有人都用 {variant}"},
    "greedy": {"en": "v{version} without exploration", "zh-CN": "v{version} 不探索"},
    "uniform": {"en": "even split", "zh-CN": "均匀分配"},
}


def summary_lines(bandit: Bandit, lang: str) -> Iterator[Text]:
    """Say what the policy earns, and what else there is to know."""
    yield Text(say(bandit.sentence, lang), style=STANDING_STYLES[bandit.gain.standing])
    for reason in bandit.reasons:
        yield Text("• " + say(reason, lang))


def tables(report: Report, bandit: Bandit, lang: str) -> list[Table]:
    """Return the tables: variants, other policies, versions."""
    found = [_arms(report, bandit, lang)]
    if bandit.policies:
        found.append(_policies(report, bandit, lang))
    if bandit.versions:
        found.append(_versions(report, bandit, lang))
    return found


def _table(title: str, heads: tuple[str, ...], left: tuple[int, ...] = (0,)) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="dim", title_justify="left", title_style="bold")
    table.title = Text("  " + title)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index in left else "right", no_wrap=index > 0)
    return table


def _arms(report: Report, bandit: Bandit, lang: str) -> Table:
    level = f"{100 * (1 - report.plan.alpha):g}%"
    if lang.startswith("zh"):
        table = _table("各方案的收益", ("方案", "决策数", "占比", "收益", f"{level} 区间", "最佳概率"))
    else:
        heads = ("Variant", "Decisions", "Share", "Earns", f"{level} interval", "Best for all")
        table = _table("What each variant earns per decision", heads)
    out = say({"en": " (taken out)", "zh-CN": "（已停用）"}, lang)
    for arm in bandit.arms:
        table.add_row(
            _name(report, arm.variant, lang) + (out if arm.masked else ""),
            f"{arm.decisions:,}",
            "–" if arm.share is None else f"{100 * arm.share:.1f}%",
            words.amount(arm.value.estimate, bandit.reward, report.plan.currency),
            _between(arm.value, report, bandit, lang),
            figures.chance(arm.chance_best),
        )
    return table


def _policies(report: Report, bandit: Bandit, lang: str) -> Table:
    if lang.startswith("zh"):
        table = _table("如果使用其他策略", ("策略", "收益", "相对当前", "区间", "有效样本"))
    else:
        table = _table("What if another policy had been used", ("Policy", "Earns", "Against live", "Interval", "ESS"))
    for policy in bandit.policies:
        against = policy.against_live
        currency = report.plan.currency
        table.add_row(
            _policy(report, policy, lang),
            words.amount(policy.value.estimate, bandit.reward, currency),
            "–" if against is None else words.change(against.estimate, bandit.reward, currency, lang),
            "–"
            if against is None or against.ci_low is None
            else words.interval(against, bandit.reward, currency, lang),
            "–" if policy.ess is None else f"{policy.ess:,.0f}",
        )
    return table


def _versions(report: Report, bandit: Bandit, lang: str) -> Table:
    if lang.startswith("zh"):
        table = _table("策略版本", ("版本", "状态", "训练时间", "学习所用决策", "参与抽取"), (0, 1))
    else:
        table = _table("Policy versions", ("Version", "State", "Trained", "Learned from", "Drew"), (0, 1))
    tongue = "zh-CN" if lang.startswith("zh") else "en"
    for line in reversed(bandit.versions):
        state = say(words.STATES.get(line.state, {"en": line.state}), lang)
        if line.state == "ramping":
            state += f" {100 * float(line.share):g}%"
        table.add_row(
            f"v{line.version}",
            state,
            figures.moment(line.trained_at, report.plan.time_zone, tongue),
            f"{line.rows:,}",
            f"{line.decisions:,}",
        )
    return table


def _policy(report: Report, policy: PolicyValue, lang: str) -> str:
    variant = _name(report, policy.variant, lang) if policy.variant else ""
    return say(POLICY_NAMES[policy.code], lang).format(version=policy.version, variant=variant)


def _name(report: Report, key: str, lang: str) -> str:
    return next((say(v.name, lang) for v in report.plan.variants if v.key == key and v.name), key)


def _between(value: Value, report: Report, bandit: Bandit, lang: str) -> str:
    if value.ci_low is None or value.ci_high is None:
        return words.why_words(value.why, lang) or "–"
    low, high = (
        words.amount(v, bandit.reward, report.plan.currency, like=value.estimate) for v in (value.ci_low, value.ci_high)
    )
    return low + say({"en": " to ", "zh-CN": " 至 "}, lang) + high
