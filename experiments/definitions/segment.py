"""A segment: a named audience rule that experiments can share."""

from __future__ import annotations

from typing import Any, Literal

from experiments.definitions.base import Key, Model, Text

Rule = dict[str, Any]
"""An audience rule as JSON; docs/audience-rules.md has the grammar."""


class Segment(Model):
    """A rule with a name; an experiment writes ``segment: KEY`` to use it.

    >>> Segment(kind="segment", key="gold", rule={"attribute": "tier", "op": "eq", "value": "gold"}).key
    'gold'
    """

    kind: Literal["segment"]
    key: Key
    name: Text | None = None
    rule: Rule
