"""What a report's hash covers: canonical JSON, floats at 12 significant digits, no generation times.

The same inputs give the same text however the rows were ordered, so the same hash.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from experiments.report.document import Report

DIGITS = 12


def canonical(value: Any) -> Any:
    """Return plain data with floats rounded to 12 significant digits and negative zero as zero.

    >>> canonical({"x": [0.1 + 0.2, -0.0, 3]})
    {'x': [0.3, 0.0, 3]}
    """
    if isinstance(value, float):
        return float(f"{value:.{DIGITS - 1}e}") + 0.0
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def content_hash(report: Report) -> str:
    """Return the sha256 of everything in the report but the hash itself."""
    plain = msgspec.to_builtins(report)
    plain.pop("content_hash", None)
    # Reports that say nothing of a thing hash as they did before there was such a thing.
    for later in ("bandit", "economics"):
        if plain[later] is None:
            plain.pop(later)
    text = json.dumps(canonical(plain), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(report: Report) -> Report:
    """Return the report with its content hash."""
    return msgspec.structs.replace(report, content_hash=content_hash(report))
