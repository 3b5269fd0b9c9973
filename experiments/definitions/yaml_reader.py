"""YAML text → plain documents with line numbers, from the parser's events and without recursion.

The YAML taken is the plain part of it: mappings with text keys, lists, text, numbers, ``true``/``false``, ``null``.
Anchors, tags and duplicate keys are refused, and so are ``yes``, ``no``, ``on`` and ``off`` without quotes, which are
booleans to one half of the world's YAML readers and text to the other. Dates stay text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from experiments.definitions.documents import MAX_DEPTH, RawDocument, check_text
from experiments.definitions.errors import DefinitionError, Problem, pointer

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")
_OLD_BOOLEANS = frozenset({"yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"})
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


def looks_like_a_number(text: str) -> bool:
    """Return whether plain YAML text would be read as a number.

    >>> looks_like_a_number("1e5"), looks_like_a_number("0012")
    (True, False)
    """
    return bool(_INT.fullmatch(text) or (_FLOAT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text)))


def read_yaml(text: str, name: str | None = None) -> list[RawDocument]:
    """Read every document of YAML text.

    Raises:
        DefinitionError: with the line of the first thing that is not taken.
    """
    return _Builder(name).documents(text)


@dataclass
class _Open:
    """A mapping or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: list[str | int]
    key: str | None = None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


class _Builder:
    """Builds documents from YAML's event stream, without recursion."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.number = 0
        self.lines: dict[str, int] = {}
        self.stack: list[_Open] = []
        self.root: Any = None

    def documents(self, text: str) -> list[RawDocument]:
        result: list[RawDocument] = []
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    self.number += 1
                    self.lines, self.stack, self.root = {}, [], None
                elif isinstance(event, yaml.DocumentEndEvent):
                    if self.root is not None:
                        result.append(RawDocument(self.root, self.file, self.number, self.lines))
                else:
                    self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = " ".join(part for part in (error.context, error.problem) if part)
            line = mark.line + 1 if mark else None
            hint = "; a tab cannot indent YAML: use spaces" if "cannot start any token" in what else ""
            problem = Problem(f"is not YAML: {what}{hint}", file=self.file, document=self.number or 1, line=line)
            raise DefinitionError([problem]) from None
        except yaml.YAMLError as error:
            line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
            why = "contains a control character such as NUL; remove it"
            raise DefinitionError([Problem(why, file=self.file, line=line)]) from None
        except UnicodeEncodeError:
            why = "contains a lone surrogate, which is no character; write valid Unicode"
            raise DefinitionError([Problem(why, file=self.file)]) from None
        if not result:
            raise DefinitionError([Problem("has no documents; write at least one with kind: …", file=self.file)])
        return result

    def _refuse(self, message: str, event: yaml.Event, path: list[str | int] | None = None) -> DefinitionError:
        line = _line(event)
        return DefinitionError([Problem(message, pointer(path or []), self.file, self.number, line)])

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse("aliases (*name) are not taken; write the value again", event, self._path())
        if isinstance(event, yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if event.anchor:
                raise self._refuse("anchors (&name) are not taken; write the value where it is used", event)
            if event.tag and event.tag != "!":
                raise self._refuse(f"tags ({event.tag}) are not taken; remove it", event, self._path())
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start({} if isinstance(event, yaml.MappingStartEvent) else [], event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()

    def _path(self) -> list[str | int]:
        """Return where the next value will stand."""
        if not self.stack:
            return []
        top = self.stack[-1]
        if isinstance(top.value, list):
            return [*top.path, len(top.value)]
        return [*top.path, top.key] if top.key is not None else top.path

    def _start(self, value: dict[str, Any] | list[Any], event: yaml.Event) -> None:
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise self._refuse("a key must be text, not a list or mapping; quote it", event, self._path())
        path = self._path()
        if len(path) >= MAX_DEPTH:
            raise self._refuse(f"is nested deeper than {MAX_DEPTH} levels; flatten it", event, path[:3])
        self._put(value, event)
        self.stack.append(_Open(value, path))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            top.key = self._key(event, top)
            return
        path = self._path()
        value = event.value if event.style else self._plain(event, path)
        if isinstance(value, str):
            why = check_text(value)
            if why:
                raise self._refuse(why, event, path)
        self._put(value, event)

    def _key(self, event: yaml.ScalarEvent, top: _Open) -> str:
        key: str = event.value
        if not event.style:
            if key in _OLD_BOOLEANS:
                message = f'the key {key} is a boolean to some YAML readers and text to others; quote it: "{key}"'
                raise self._refuse(message, event, top.path)
            if key in _CONSTANTS or _FLOAT.fullmatch(key):
                shown = key or '""'
                message = f'the key {shown} is not text; quote it: "{key}"'
                raise self._refuse(message, event, top.path)
        why = check_text(key)
        if why:
            raise self._refuse(f"a key {why}", event, top.path)
        if key in top.value:
            first = self.lines.get(pointer([*top.path, key]))
            message = f'the key "{key}" stands twice (first in line {first}); keep one'
            raise self._refuse(message, event, [*top.path, key])
        return key

    def _plain(self, event: yaml.ScalarEvent, path: list[str | int]) -> Any:
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text in _OLD_BOOLEANS:
            message = f'{text} is a boolean to some YAML readers and text to others; write true, false or "{text}"'
            raise self._refuse(message, event, path)
        if _NOT_FINITE.fullmatch(text):
            raise self._refuse(f"{text} is not a finite number; write a number, or leave it out", event, path)
        if _INT.fullmatch(text):
            if len(text) > 19:
                raise self._refuse(
                    "has too many digits for a number; quote it if it is text, such as an id", event, path
                )
            return int(text)
        if looks_like_a_number(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._refuse(f"{text} is not a finite number; write a smaller one", event, path)
            return number
        return text  # dates, leading zeros (0012 is an id, not a number), everything else

    def _put(self, value: Any, event: yaml.Event) -> None:
        path = self._path()
        self.lines[pointer(path)] = _line(event)
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            assert top.key is not None  # noqa: S101 - the parser gives a key before each value
            top.value[top.key] = value
            top.key = None
