"""Plain documents → definitions: every wrong field is named, with its place and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from experiments.definitions import (
    Definition,
    Experiment,
    Holdout,
    Layer,
    Metric,
    Offer,
    Project,
    Segment,
    StageRule,
)
from experiments.definitions.base import KEY
from experiments.definitions.documents import RawDocument
from experiments.definitions.errors import DefinitionError, Problem, nearest, pointer
from experiments.definitions.reader import from_values, read_file, read_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KINDS: dict[str, type[Definition]] = {
    "project": Project,
    "offer": Offer,
    "metric": Metric,
    "layer": Layer,
    "holdout": Holdout,
    "segment": Segment,
    "stage_rule": StageRule,
    "experiment": Experiment,
}
"""Kind → model, in the order in which they refer to each other."""


@dataclass(frozen=True)
class Loaded:
    """A definition and the document it came from, for problems found later."""

    definition: Definition
    source: RawDocument


def load_file(path: Path) -> list[Loaded]:
    """Read and check every definition of a YAML or JSON file.

    Raises:
        DefinitionError: with every problem of every document.
    """
    return load_documents(read_file(path))


def load_text(text: str, name: str | None = None) -> list[Loaded]:
    r"""Read and check every definition of YAML or JSON text.

    >>> load_text("kind: layer\nkey: winback\nunit_typ: store")
    Traceback (most recent call last):
    experiments.definitions.errors.DefinitionError: line 3, /unit_typ: unknown key; did you mean "unit_type"?
    """
    return load_documents(read_text(text, name))


def load_values(values: Sequence[Any], name: str | None = None) -> list[Loaded]:
    """Check definitions that were decoded elsewhere, such as a JSON request body."""
    return load_documents(from_values(list(values), name))


def load_documents(documents: Iterable[RawDocument]) -> list[Loaded]:
    """Check documents one by one and against repeated keys.

    Raises:
        DefinitionError: with every problem of every document.
    """
    loaded: list[Loaded] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str], RawDocument] = {}
    for document in documents:
        definition = _load(document, problems)
        if definition is None:
            continue
        name = (definition.kind, definition.key)
        if name in seen:
            what = "the project" if definition.kind == "project" else f"{definition.kind} {definition.key}"
            message = f"{what} is defined twice (first in document {seen[name].number}); keep one"
            problems.append(document.problem(message, "/kind" if definition.kind == "project" else "/key"))
            continue
        seen[name] = document
        loaded.append(Loaded(definition, document))
    if problems:
        raise DefinitionError(problems)
    return loaded


def _load(document: RawDocument, problems: list[Problem]) -> Definition | None:
    value = document.value
    if not isinstance(value, dict):
        problems.append(document.problem("must be a mapping that begins with kind: …, such as kind: experiment"))
        return None
    kind = value.get("kind")
    if kind is None:
        problems.append(document.problem(f"is missing; write kind: one of {', '.join(KINDS)}", "/kind"))
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(document.problem(f'"{kind}" is not a kind; {nearest(str(kind), KINDS)}', "/kind"))
        return None
    try:
        return KINDS[kind].model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        places = [details["loc"] for details in found]
        for details in found:
            loc = details["loc"]
            if details["type"] == "too_short" and any(len(p) > len(loc) and p[: len(loc)] == loc for p in places):
                continue  # an item that is wrong was not counted; its own problem says so
            problems.append(document.problem(explain(details), pointer(_path(loc, value))))
        return None


def _path(loc: tuple[str | int, ...], value: Any) -> list[str | int]:
    """Drop what pydantic puts into a location that is not in the document (union members, dictionary keys)."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(value, dict) and part in value:
            path.append(part)
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
        elif index == len(loc) - 1 and isinstance(value, dict) and isinstance(part, str) and part != "[key]":
            path.append(part)
    return path


def explain(error: ErrorDetails) -> str:
    """Return one of pydantic's errors as a line that says what to do."""
    kind = error["type"]
    context = error.get("ctx") or {}
    given = error.get("input")
    if kind == "missing":
        return _MISSING.get(str(error["loc"][-1]), "is missing; add it")
    if kind == "refused":
        return str(context["why"])
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind == "literal_error":
        allowed = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"{_shown(given)} is not one of {', '.join(allowed)}; {nearest(str(given), allowed)}"
    if kind == "string_pattern_mismatch":
        if "{16}" in str(context["pattern"]):
            return f"{_shown(given)} is not a salt; leave it as equipoise export wrote it, or out"
        if str(context["pattern"]) == KEY:
            letters, advice = "a-z 0-9 _ -", _as_key(str(given))
        else:
            letters, advice = "A-Z a-z 0-9 . _ -, space", ""
        return f"{_shown(given)} may have only {letters}, begin with a letter or digit, at most 64{advice}"
    simple = _TYPES.get(kind)
    if simple is not None:
        return f"{_shown(given)} {simple}"
    limits = _LIMITS.get(kind)
    if limits is not None:
        words, name = limits
        return f"{_shown(given) + ' ' if isinstance(given, int | float) else ''}{words} {context[name]:,}"
    if kind in {"model_type", "model_attributes_type", "dict_type", "tuple_type", "list_type"}:
        want = "a list" if kind in {"tuple_type", "list_type"} else "a mapping (key: value)"
        return f"{_shown(given)} must be {want}; see docs/definitions.md"
    return error["msg"][:1].lower() + error["msg"][1:]


def _as_key(text: str) -> str:
    """Return advice with the nearest usable key, when something is left of the text."""
    slug = re.sub(r"[^a-z0-9_]+", "-", text.lower())[:64].strip("-_")
    return f'; write "{slug}"' if slug else ""


_MISSING = {
    "control": "is missing; name the variant that the others are compared with",
    "key": "is missing; give it a key of a-z 0-9 _ -",
    "name": "is missing; add name: {en: …, zh-CN: …}",
    "window": "is missing; add window: {days: 14}",
    "metrics": "is missing; add metrics: {primary: [KEY]}",
    "currency": "is missing; add currency: CNY (an ISO 4217 code)",
}
_TYPES = {
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; write it in quotes",
    "finite_number": "must be a finite number",
}
_LIMITS = {
    "greater_than": ("must be above", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be below", "lt"),
    "less_than_equal": ("must be at most", "le"),
    "too_short": ("has too few items; at least", "min_length"),
    "too_long": ("has too many items; at most", "max_length"),
    "string_too_short": ("must not be empty; length at least", "min_length"),
    "string_too_long": ("is too long; at most", "max_length"),
}


def _shown(value: object) -> str:
    """Return a short, one-line picture of a wrong value."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = " ".join(str(value).split())
    return f'"{text if len(text) <= 60 else text[:57] + "…"}"' if isinstance(value, str) else text
