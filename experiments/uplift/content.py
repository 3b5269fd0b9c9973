"""What a recommendation's hash covers: everything in it, floats at 12 significant digits."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from experiments.report.content import canonical
from experiments.uplift.document import Recommendation


def sealed(document: Recommendation) -> Recommendation:
    """Return the recommendation with its content hash."""
    plain: dict[str, Any] = msgspec.to_builtins(document)
    plain.pop("content_hash", None)
    text = json.dumps(canonical(plain), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return msgspec.structs.replace(document, content_hash=hashlib.sha256(text.encode()).hexdigest())
