"""What an audience rule is, once it has been checked: a small tree of frozen nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

AttributeType = Literal["string", "number", "boolean", "date", "list", "any"]
"""Declared type of an attribute. A date is ISO text, a list is a list of strings; ``any`` only serves ``exists``."""

Op = Literal[
    "eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "between", "contains", "starts_with", "exists", "days_since"
]

Scalar = str | float | bool | int
"""A checked value: text, a finite double, a boolean, or a date as whole microseconds since 1970-01-01 UTC."""


class RuleError(ValueError):
    """A rule that cannot be used.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the wrong place within the rule; empty for the rule itself.
        message: what is wrong.
        advice: what to do about it.
    """

    def __init__(self, pointer: str, message: str, advice: str) -> None:
        super().__init__(f"{pointer or '(whole rule)'}: {message}; {advice}")
        self.pointer = pointer
        self.message = message
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison of one attribute.

    ``values`` holds what it is compared with: one value for most operators, the listed ones for ``in`` and ``not_in``,
    two inclusive ends for ``between``, one boolean for ``exists`` (is it expected to exist?), none for ``days_since``,
    which has ``gte_days`` and ``lte_days`` instead.
    """

    attribute: str
    type: AttributeType
    op: Op
    values: tuple[Scalar, ...] = ()
    gte_days: int | None = None
    lte_days: int | None = None


@dataclass(frozen=True, slots=True)
class All:
    """True when every part is true; SQL's AND."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one part is true; SQL's OR."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown; SQL's NOT."""

    part: Node


Node = Leaf | All | AnyOf | Not


Tracer = Callable[[Mapping[str, Any], int], tuple[bool | None, str | None]]
"""Takes attributes and the time; returns the answer and, when it is unknown, the first attribute that makes it so."""


@dataclass(frozen=True)
class Rule:
    """A checked rule.

    Attributes:
        root: the tree.
        attributes: names of the attributes it reads, each once, in order of first appearance.
        uses_now: whether the answer depends on the time of the question (``days_since``).
    """

    root: Node
    attributes: tuple[str, ...]
    uses_now: bool

    @cached_property
    def tracer(self) -> Tracer:
        """The rule as a function that also names the attribute it misses; made when first asked for."""
        from allocation.audience.predicate import compile_tracer

        return compile_tracer(self)
