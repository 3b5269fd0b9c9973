"""Files, text and decoded values → plain documents with line numbers; JSON here, YAML in yaml_reader.py.

Whatever two readers could read differently is refused: duplicate keys, NaN, lone surrogates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.definitions.documents import MAX_DEPTH, RawDocument, check_text
from experiments.definitions.errors import DefinitionError, Problem, pointer
from experiments.definitions.yaml_reader import read_yaml

MAX_BYTES = 32 * 1024 * 1024


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
    return read_yaml(text, name)


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
