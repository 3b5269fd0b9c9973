"""A report as JSON: the document itself."""

from __future__ import annotations

import msgspec

from experiments.report.document import Report


def render_json(report: Report, *, indent: int = 2) -> str:
    """Return the whole document; a figure that could not be computed is ``null`` with its reason beside it."""
    return msgspec.json.format(msgspec.json.encode(report), indent=indent).decode() + "\n"
