"""Whether the numbers may be read: the health strip above every report."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.report import figures
from experiments.report.document import Check, CheckStatus, Srm
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


def srm_check(result: Srm) -> Check:
    """Return the first cell of the strip."""
    value = {
        "ok": {"en": "Balanced", "zh-CN": "平衡"},
        "caution": {"en": "Doubtful", "zh-CN": "存疑"},
        "fail": {"en": "Not as planned", "zh-CN": "不符合计划"},
        "info": {"en": "Not checked", "zh-CN": "未检查"},
    }[result.status]
    p_text = figures.p_value(result.p_value)
    detail = {"en": f"χ² p {p_text}", "zh-CN": f"χ² p {p_text}"}
    if result.p_value is None:
        detail = {"en": result.why or "", "zh-CN": result.why or ""}
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
    text = figures.plain(100 * share, 2)
    detail = {"en": f"{contaminated:,} units, left out", "zh-CN": f"{contaminated:,} 个，已剔除"}
    if duplicates:
        detail["en"] += f"; {duplicates:,} repeated rows, one of each kept"
        detail["zh-CN"] += f"；重复 {duplicates:,} 行，各保留一行"
    return Check(
        code="contaminated",
        status=status,
        label={"en": "In two variants", "zh-CN": "跳组"},
        value={"en": f"{text}%", "zh-CN": f"{text}%"},
        detail=detail,
    )
