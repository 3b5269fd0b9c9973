"""Whether the log of a policy that learns can be trusted: the health strip above its report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.report import figures
from experiments.report.bandit import words
from experiments.report.bandit.document import PolicyValue
from experiments.report.bandit.logged import Drawn, Logged
from experiments.report.document import Check, CheckStatus

LEAST_EFFECTIVE = 200
SUMS_TO = 1e-6


def checks_of(
    log: Logged,
    valued: int,
    drawn: Drawn,
    policies: Sequence[PolicyValue],
    *,
    floor: float,
    open_: int,
    window_days: float,
    drift: tuple[str, float] | None,
    max_drift: float,
) -> list[Check]:
    """Return the checks.

    Args:
        log: matured decisions.
        valued: how many of them other policies are valued on.
        drawn: all of them, counted.
        policies: values of others, for their effective samples.
        floor: the least probability that the declared exploration gives.
        open_: decisions whose window is not over.
        window_days: its length.
        drift: the feature that moved most and its population stability index, where it was measured.
        max_drift: the declared limit.
    """
    return [
        _logged(drawn),
        _sums(log),
        _lowest(drawn, floor),
        _effective(valued, policies),
        _open(drawn, open_, window_days),
        *([] if drift is None else [_drift(drift, max_drift)]),
    ]


def _logged(drawn: Drawn) -> Check:
    share = 1 - drawn.without_propensity / drawn.total if drawn.total else 1.0
    status: CheckStatus = "info" if not drawn.total else "ok" if not drawn.without_propensity else "fail"
    written = "100%" if not drawn.without_propensity else f"{100 * min(share, 0.9999):.2f}%"
    return Check(
        code="decision_log",
        status=status,
        label={"en": "Decision log", "zh-CN": "决策日志"},
        value={"en": written, "zh-CN": written},
        detail={"en": "with propensity", "zh-CN": "带有抽取概率"},
    )


def _sums(log: Logged) -> Check:
    off = np.abs(log.p.sum(axis=1) - 1) if log.n else np.empty(0)
    wrong = int(np.count_nonzero(off > SUMS_TO))
    en, zh = ("Sum to 1.000", "合计 1.000") if not wrong else (f"{wrong:,} do not sum to 1", f"{wrong:,} 次合计不为 1")
    return Check(
        code="probabilities",
        status="info" if not log.n else "fail" if wrong else "ok",
        label={"en": "Probabilities", "zh-CN": "抽取概率"},
        value={"en": en, "zh-CN": zh} if log.n else {"en": "–", "zh-CN": "–"},
        detail={"en": "all matured decisions", "zh-CN": "所有窗口已结束的决策"},
    )


def _lowest(drawn: Drawn, floor: float) -> Check:
    lowest = drawn.lowest
    below = lowest is not None and lowest < floor * (1 - 1e-9)
    written = "–" if lowest is None else _probability(lowest)
    return Check(
        code="lowest_propensity",
        status="info" if lowest is None else "caution" if below else "ok",
        label={"en": "Lowest propensity", "zh-CN": "最低抽取概率"},
        value={"en": written, "zh-CN": written},
        detail={"en": f"floor {_probability(floor)}", "zh-CN": f"下限 {_probability(floor)}"},
    )


def _effective(valued: int, policies: Sequence[PolicyValue]) -> Check:
    found = next((p for code in ("candidate", "live") for p in policies if p.code == code), None)
    label = {"en": "Effective sample", "zh-CN": "有效样本"}
    if found is None or found.ess is None or not valued:
        said = {"en": "no version yet", "zh-CN": "尚无版本"}
        return Check(code="effective_sample", status="info", label=label, value={"en": "–", "zh-CN": "–"}, detail=said)
    share = found.ess / valued
    written = f"{100 * share:.0f}%"
    thin = found.ess < max(LEAST_EFFECTIVE, 0.01 * valued)
    return Check(
        code="effective_sample",
        status="caution" if thin else "ok",
        label=label,
        value={"en": written, "zh-CN": written},
        detail={"en": f"for v{found.version}", "zh-CN": f"版本 {found.version}"},
    )


def _open(drawn: Drawn, open_: int, window_days: float) -> Check:
    share = open_ / drawn.total if drawn.total else 0.0
    written = figures.plain(100 * share, 0) + "%"
    return Check(
        code="reward_delay",
        status="info" if not drawn.total else "caution" if share > 0.5 else "ok",
        label={"en": "Rewards still open", "zh-CN": "收益未定"},
        value={"en": written, "zh-CN": written},
        detail={"en": f"window {words.days(window_days)}", "zh-CN": f"窗口 {window_days:g} 天"},
    )


def _drift(drift: tuple[str, float], limit: float) -> Check:
    name, value = drift
    return Check(
        code="drift",
        status="caution" if value > limit else "ok",
        label={"en": "Drift", "zh-CN": "特征漂移"},
        value={"en": f"PSI {value:.2f}", "zh-CN": f"PSI {value:.2f}"},
        detail={"en": f"{name}, limit {limit:.2f}", "zh-CN": f"{name}，上限 {limit:.2f}"},
    )


def _probability(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0095 else f"{value:.4f}"
