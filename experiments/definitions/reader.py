"""YAML and JSON text → plain documents with line numbers; what two readers could read differently is refused.

The YAML taken is the plain part of it: mappings with text keys, lists, text, numbers, ``true``/``false``, ``null``.
Anchors, tags and duplicate keys are refused, and so are ``yes``, ``no``, ``on`` and ``off`` without quotes, which are
booleans to one half of the world's YAML readers and text to the other. Dates stay text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.definitions.errors import DefinitionError, Problem, pointer

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 60

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


@dataclass(frozen=True)
class RawDocument:
    """One document as plain values, and where each of them stands."""

    value: Any
    file: str | None
    number: int
    """1 is the first of its file."""
    lines: dict[str, int] = field(default_factory=dict)
    """JSON pointer → line, where the format tells."""

    def problem(self, message: str, at: str = "") -> Problem:
        """Return a problem at a pointer of this document, with the line of it or of its nearest parent."""
        place = at
        while place and place not in self.lines:
            place = place.rpartition("/")[0]
        key = None
        if isinstance(self.value, dict) and isinstance(self.value.get("kind"), str):
            name = self.value.get("key")
            key = f"{self.value['kind']} {name}" if isinstance(name, str) else self.value["kind"]
        number = self.number if self.file else None
        return Problem(message, at, self.file, number, self.lines.get(place), key)


def read_file(path: Path) -> list[RawDocument]:
    """Read every document of a YAML or JSON file.

    Raises:
        DefinitionError: naming the file, the line and what to do.
    """
    name = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DefinitionError([Problem(f"is larger than {MAX_BYTES >> 20} MB; split it", file=name)])
        data = path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DefinitionError([Problem(f"cannot be read: {why}", file=name)]) from None
    return read_text(decode(data, name), name)


def decode(data: bytes, name: str | None = None) -> str:
    """Return bytes as text; UTF-8, with or without byte-order mark.

    Raises:
        DefinitionError: saying at which line another encoding shows.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        advice = "is not UTF-8 text; save it as UTF-8 (GB18030 and UTF-16 are not taken here)"
        raise DefinitionError([Problem(advice, file=name, line=line)]) from None


def read_text(text: str, name: str | None = None) -> list[RawDocument]:
    r"""Read every document of YAML or JSON text; a JSON array is taken as several documents.

    >>> [document.value for document in read_text("kind: layer\nkey: a\n---\nkind: layer\nkey: b\n")]
    [{'kind': 'layer', 'key': 'a'}, {'kind': 'layer', 'key': 'b'}]
    """
    is_json = bool(name and name.lower().endswith(".json"))
    if is_json or text.lstrip()[:1] in {"{", "["}:
        try:
            value = _json(text, name)
        except json.JSONDecodeError as error:
            if is_json:
                raise DefinitionError(
                    [Problem(f"is not JSON: {error.msg.lower()} (column {error.colno})", file=name, line=error.lineno)]
                ) from None
        else:
            return from_values(value if isinstance(value, list) else [value], name)
    return _Builder(name).documents(text)


def from_values(values: list[Any], name: str | None = None) -> list[RawDocument]:
    """Take values that were decoded elsewhere (a JSON request body) as documents, with the same refusals.

    Raises:
        DefinitionError: for NaN, infinity, NUL, lone surrogates and deep nesting.
    """
    documents = [RawDocument(value, name, number) for number, value in enumerate(values, 1)]
    problems = [
        document.problem(message, pointer(path))
        for document in documents
        for path, message in _unusable(document.value)
    ]
    if problems:
        raise DefinitionError(problems)
    return documents


def looks_like_a_number(text: str) -> bool:
    """Return whether plain YAML text would be read as a number.

    >>> looks_like_a_number("1e5"), looks_like_a_number("0012")
    (True, False)
    """
    return bool(_INT.fullmatch(text) or (_FLOAT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text)))


def check_text(text: str) -> str | None:
    r"""Return why a text cannot be kept (NUL, lone surrogate), ``None`` when it can.

    >>> check_text("a\x00b")
    'contains a NUL character; remove it'
    """
    if "\x00" in text:
        return "contains a NUL character; remove it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains a lone surrogate, which is no character; write valid Unicode"
    return None


def _unusable(value: Any) -> Iterator[tuple[list[str | int], str]]:
    # An explicit stack: a document nested 100,000 deep must not exhaust Python's.
    stack: list[tuple[list[str | int], Any]] = [([], value)]
    while stack:
        path, item = stack.pop()
        if len(path) > MAX_DEPTH:
            yield path[:3], f"is nested deeper than {MAX_DEPTH} levels; flatten it"
            return
        if isinstance(item, str):
            why = check_text(item)
            if why:
                yield path, why
        elif isinstance(item, float) and not math.isfinite(item):
            yield path, "is not a finite number; write a number, or leave it out"
        elif isinstance(item, dict):
            for key, child in item.items():
                why = check_text(key) if isinstance(key, str) else "has a key that is not text; quote it"
                if why:
                    yield path, f"a key {why}" if isinstance(key, str) else why
                else:
                    stack.append(([*path, key], child))
        elif isinstance(item, list):
            stack.extend(([*path, index], child) for index, child in enumerate(item))


class _RefusedError(ValueError):
    """A JSON value that Python's reader would take and we do not."""


def _json(text: str, name: str | None) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    raise _RefusedError(f'the key "{key}" stands twice in one object; keep one')
                seen.add(key)
        return result

    def constant(word: str) -> Any:
        raise _RefusedError(f"{word} is not a number JSON knows; write a number, or leave it out")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except _RefusedError as error:
        raise DefinitionError([Problem(str(error), file=name)]) from None
    except RecursionError:
        raise DefinitionError([Problem(f"is nested deeper than {MAX_DEPTH} levels; flatten it", file=name)]) from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            raise
        raise DefinitionError([Problem("has a number with too many digits; shorten it", file=name)]) from None


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
