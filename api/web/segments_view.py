"""The segments of the page of members as data: the rule in words, how many it describes, and who uses it."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.language import Language
from api.web.numbers import Numbers
from experiments.definitions import Experiment, Segment
from experiments.keeping.heads import Head
from experiments.report.audience import Names, rule_text
from experiments.segments.asking import Counted


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One shared audience rule."""

    name: str
    key: str
    rule: str
    members: str
    """Empty while they were not counted."""
    opted_out: str
    held_out: str
    why: str
    """Why they are not counted."""
    used_by: tuple[tuple[str, str], ...]
    """Key and title of experiments."""


@dataclass(frozen=True, slots=True)
class SegmentsView:
    """All segments, and as of when they were counted."""

    lines: tuple[SegmentLine, ...]
    as_of: str
    """Empty while they never were."""


def build_segments_view(
    heads: dict[tuple[str, str], Head], names: Names, counted: Counted | None, words: Language, numbers: Numbers | None
) -> SegmentsView:
    """Return the segments.

    Args:
        heads: every definition as it is now.
        names: of attributes, stages and levels.
        counted: the latest counting.
        words: the page's language.
        numbers: how figures are written; ``None`` where there is no project, and so no member.
    """
    experiments = [head.definition for head in heads.values() if isinstance(head.definition, Experiment)]
    lines = []
    for head in heads.values():
        segment = head.definition
        if isinstance(segment, Segment):
            used = [e for e in experiments if e.segment == segment.key]
            lines.append(
                SegmentLine(
                    name=words.text(dict(segment.name or {})) or segment.key,
                    key=segment.key,
                    rule=words.text(rule_text(segment.rule, names)),
                    used_by=tuple((e.key, words.text(dict(e.name)) or e.key) for e in used),
                    **_size(head, counted, words, numbers),
                )
            )
    as_of = numbers.time(counted.as_of) if counted is not None and numbers is not None else ""
    return SegmentsView(tuple(lines), as_of)


def _size(head: Head, counted: Counted | None, words: Language, numbers: Numbers | None) -> dict[str, str]:
    _ = words.gettext
    none = {"members": "", "opted_out": "", "held_out": ""}
    size = None if counted is None else counted.segments.get(head.definition.key)
    if size is None or numbers is None:
        return none | {"why": _("not counted yet")}
    if size.revision != head.revision:
        return none | {"why": _("changed since it was counted")}
    if size.members is None:
        return none | {"why": _("only a request tells who is in it")}
    found = {"members": size.members, "opted_out": size.opted_out or 0, "held_out": size.held_out or 0}
    return {name: numbers.count(number) for name, number in found.items()} | {"why": ""}
