"""The experiment list as CSV: the rows that the page shows, with plain numbers and the reader's language."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from api.web.language import language
from api.web.list_view import chosen
from api.web.views import ExperimentListRow
from experiments.report.render_csv import safe_text

COLUMNS = (
    "key", "title", "audience", "owner", "state", "decision", "stands", "attention", "next_step", "variants",
    "day", "planned_days", "members", "planned_members", "metric", "best_variant", "reading",
    "change", "ci_low", "ci_high", "hidden_why", "data_time",
)  # fmt: skip


def experiments_csv(rows: Sequence[ExperimentListRow], lang: str, *, status: str = "all", search: str = "") -> str:
    """Return the list; ``change`` and its interval are shares of control's mean, empty where they may not be read.

    Args:
        rows: all experiments.
        lang: of titles and sentences.
        status: the tab, as on the page.
        search: words, as on the page.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(row, lang) for row in chosen(rows, status, search))
    return out.getvalue()


def _row(row: ExperimentListRow, lang: str) -> dict[str, Any]:
    text = language(lang).text
    best = row.best
    return {
        "key": safe_text(row.key),
        "title": safe_text(text(row.title)),
        "audience": safe_text(text(row.audience)),
        "owner": safe_text(row.owner or ""),
        "state": row.state,
        "decision": row.decision,
        "stands": row.stands if row.decision else None,
        "attention": row.attention,
        "next_step": safe_text(text(row.next_step)),
        "variants": row.variants,
        "day": row.day,
        "planned_days": row.planned_days,
        "members": row.units,
        "planned_members": row.planned_units,
        "metric": safe_text(text(best.metric)) if best else None,
        "best_variant": safe_text(best.variant) if best else None,
        "reading": best.reading if best else None,
        "change": best.estimate if best else None,
        "ci_low": best.ci_low if best else None,
        "ci_high": best.ci_high if best else None,
        "hidden_why": safe_text(text(row.hidden_why)) or None,
        "data_time": row.data_time,
    }
