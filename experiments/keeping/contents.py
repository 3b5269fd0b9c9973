"""Definitions as canonical JSON: how revisions are stored, compared and shown as changes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from experiments.definitions import Definition
from experiments.definitions.loader import KINDS

_COUNTED = frozenset({"overrides", "exclude"})


def dump(definition: Definition) -> str:
    """Return the definition as canonical JSON: everything but what the service made and what is not set.

    Order of variants and of mappings written by people is kept, because it means something to them.
    """
    data = definition.model_dump(mode="json", exclude_none=True, exclude={"made"})
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def load(kind: str, text: str) -> Definition:
    """Read what :func:`dump` wrote."""
    return KINDS[kind].model_validate(json.loads(text))


def content_hash(text: str) -> str:
    """Return the hash that tells whether two revisions say the same, whatever the order of their keys."""
    data = json.loads(text)
    canonical = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def short(definition: Definition) -> dict[str, Any]:
    """Return the definition as people write it: defaults and unset fields left out, kind and key first."""
    data = definition.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"made"})
    first: dict[str, Any] = {"kind": definition.kind}
    if definition.kind != "project":
        first["key"] = definition.key
    return {**first, **{name: value for name, value in data.items() if name not in first}}


def difference(old: Definition, new: Definition) -> dict[str, Any]:
    """Return the changed fields with both values; lists of unit ids only by their size, so that no id is copied.

    >>> from experiments.definitions import Layer
    >>> old = Layer(kind="layer", key="a", name="A")
    >>> difference(old, old.model_copy(update={"name": {"en": "B"}}))
    {'name': {'before': {'en': 'A'}, 'after': {'en': 'B'}}}
    """
    before, after = (item.model_dump(mode="json", exclude_none=True, exclude={"made"}) for item in (old, new))
    result: dict[str, Any] = {}
    for name in sorted({*before, *after}):
        left, right = before.get(name), after.get(name)
        if left != right:
            if name in _COUNTED:
                left, right = (f"{len(value or ())} units" for value in (left, right))
            result[name] = {"before": left, "after": right}
    return result
