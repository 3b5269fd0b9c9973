"""Whether the numbers may be read: the health strip above every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from experiments.report import figures
from experiments.report.document import Check, CheckStatus, Srm, Text
from experiments.report.whys import why_text
from stats.sequential_srm import sequential_srm
from stats.srm import srm

CONTAMINATED_LIMIT = 0.01
"""Share of units seen in two variants above which the strip cautions."""


def split_check(observed: Mapping[str, int], weights: Mapping[str, float]) -> Srm:
    """Compare the units of each variant with the planned weights.

    >>> split_check({"a": 5055, "b": 4945}, {"a": 1, "b": 1}).status
    'ok'
    """
    found = srm([observed[v] for v in observed], [weights[v] for v in observed])
    value = found.value()
    return Srm(
        p_value=value.p_value,
        observed=dict(observed),
        expected={v: float(found.expected[i]) for i, v in enumerate(observed)},
        status=value.status,
        why=value.why,
    )


def split_over_time(found: Srm, by_day: npt.NDArray[np.int64], weights: Sequence[float]) -> Srm:
    """Return a split check with the p of the test that stays valid however often it is looked at.

    Args:
        found: the fixed test.
        by_day: how many entered on each day, shape (days, variants in the order of ``found``).
        weights: planned.
    """
    if not by_day.size or len(weights) < 2:
        return found
    checked = sequential_srm(np.cumsum(by_day, axis=0), weights).value()
    return msgspec.structs.replace(found, sequential_p_value=checked.p_value)


def sequential_srm_check(result: Srm) -> Check:
    """Return the cell of the split as it was watched from day to day."""
    p_value = result.sequential_p_value or 0.0
    status: CheckStatus = "fail" if p_value < SRM_FAILS else "caution" if p_value < SRM_CAUTIONS else "ok"
    p_text = figures.p_value(p_value)
    return Check(
        code="srm_sequential",
        status=status,
        label={"en": "Split day by day", "zh-CN": "逐日流量比例"},
        value=_SPLIT[status],
        detail={"en": f"valid at every look, p {p_text}", "zh-CN": f"随时有效，p {p_text}"},
    )


SRM_FAILS, SRM_CAUTIONS = 0.001, 0.01
"""Limits of p."""
_SPLIT: dict[CheckStatus, Text] = {
    "ok": {"en": "Balanced", "zh-CN": "均衡"},
    "caution": {"en": "Doubtful", "zh-CN": "存疑"},
    "fail": {"en": "Not as planned", "zh-CN": "与计划不符"},
    "info": {"en": "Not checked", "zh-CN": "未检查"},
}


def srm_check(result: Srm) -> Check:
    """Return the first cell of the strip."""
    value = _SPLIT[result.status]
    p_text = figures.p_value(result.p_value)
    detail = {"en": f"χ² p {p_text}", "zh-CN": f"χ² p {p_text}"}
    if result.p_value is None:
        detail = {lang: why_text(result.why, lang) for lang in ("en", "zh-CN")}
    return Check(
        code="srm",
        status=result.status,
        label={"en": "Traffic split (SRM)", "zh-CN": "流量比例 (SRM)"},
        value=value,
        detail=detail,
    )


def contaminated_check(contaminated: int, duplicates: int, analysed: int) -> Check:
    """Return how many units were seen in two variants (left out) and how many repeats were found (one kept)."""
    share = contaminated / max(analysed + contaminated, 1)
    status: CheckStatus = "caution" if share > CONTAMINATED_LIMIT else "ok"
    value, detail = {"en": "None", "zh-CN": "无"}, []
    if contaminated:
        text = "<0.01%" if share < 0.0001 else f"{figures.plain(100 * share, 2)}%"
        value = {"en": text, "zh-CN": text}
        detail.append((f"{contaminated:,} left out", f"已剔除 {contaminated:,} 个"))
    if duplicates:
        detail.append((f"{duplicates:,} repeated rows, one of each kept", f"重复 {duplicates:,} 行，各保留一行"))
    return Check(
        code="contaminated",
        status=status,
        label={"en": "In two variants", "zh-CN": "跳组"},
        value=value,
        detail={"en": "; ".join(en for en, _ in detail), "zh-CN": "；".join(zh for _, zh in detail)} if detail else {},
    )


def sample_check(units: int, planned: int | None, matured: int | None = None) -> Check:
    """Return how many units there are, beside how many were planned and, where that counts, how many have matured."""
    detail: dict[str, str] = {}
    if planned is not None:
        detail = {"en": f"of {planned:,} planned", "zh-CN": f"计划 {planned:,} 名"}
    if planned is not None and matured is not None and matured != units:
        detail = {
            "en": f"of {planned:,} planned; {matured:,} count by now",
            "zh-CN": f"计划 {planned:,} 名；目前计入 {matured:,} 名",
        }
    return Check(
        code="sample",
        status="info" if planned is None or units < planned else "ok",
        label={"en": "Members", "zh-CN": "会员数"},
        value={"en": f"{units:,}", "zh-CN": f"{units:,}"},
        detail=detail,
    )


def completeness_check(units: int, immature: int, data_time: str | None, time_zone: str = "UTC") -> Check:
    """Return whether the outcome windows of all units are over, and until when (in the zone) outcomes have arrived."""
    until = {}
    if data_time:
        until = {
            "en": f"to {figures.moment(data_time, time_zone, 'en')}",
            "zh-CN": f"截至 {figures.moment(data_time, time_zone, 'zh-CN')}",
        }
    if not units:
        value = {"en": "None yet", "zh-CN": "尚无"}
        return Check(code="completeness", status="info", label=_OUTCOMES, value=value, detail=until)
    if not immature:
        value = {"en": "Complete", "zh-CN": "完整"}
        return Check(code="completeness", status="ok", label=_OUTCOMES, value=value, detail=until)
    share = figures.plain(100 * (1 - immature / max(units, 1)), 0)
    return Check(
        code="completeness",
        status="info",
        label=_OUTCOMES,
        value={"en": f"{share}% complete", "zh-CN": f"完成 {share}%"},
        detail={
            "en": f"{immature:,} members within their window" + (f", {until['en']}" if until else ""),
            "zh-CN": f"{immature:,} 名会员仍在观察窗口内" + (f"，{until['zh-CN']}" if until else ""),
        },
    )


_OUTCOMES = {"en": "Outcome data", "zh-CN": "结果数据"}

BALANCE_LIMIT_P = 0.001
"""A covariate that differs this clearly before the test was not split at random: .1 % of sound tests say so."""


def balance_check(differences: Mapping[str, tuple[float, float]]) -> Check | None:
    """Return whether the variants were alike before the test.

    Args:
        differences: covariate and variant → (difference from control in standard deviations, adjusted p).
    """
    if not differences:
        return None
    worst = max(differences.values(), key=lambda pair: abs(pair[0]))
    beyond = sum(p_value < BALANCE_LIMIT_P for _, p_value in differences.values())
    limit = figures.plain(abs(worst[0]), 3)
    count = len(differences)
    if beyond:
        value = {"en": f"{beyond} of {count} differ", "zh-CN": f"{count} 项中 {beyond} 项有差异"}
        status: CheckStatus = "caution"
    else:
        value, status = {"en": "Alike", "zh-CN": "均衡"}, "ok"
    return Check(
        code="balance",
        status=status,
        label={"en": "Pre-period balance", "zh-CN": "实验前均衡"},
        value=value,
        detail={"en": f"largest difference {limit} sd", "zh-CN": f"最大差异 {limit} 个标准差"},
    )
