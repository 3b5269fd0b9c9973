"""A question written as an address: ``GET /v1/decide?experiment=…&unit=…&attr.city=Oslo``, for tools that only GET.

Values in an address are text. An attribute is read as what the experiment declares it to be; what cannot be read so
stays text, and is then as good as missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from api.errors import FieldProblem, Problem, near

if TYPE_CHECKING:
    from allocation.compiled import CompiledSnapshot

MAX_PARAMETERS = 220
PREFIX = "attr."
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_decode = msgspec.json.decode


def request_document(query: bytes, fields: Sequence[str], compiled: CompiledSnapshot | None) -> dict[str, Any]:
    """Return the request that a query string spells, as the JSON document would be.

    Args:
        query: percent-encoded UTF-8.
        fields: the parameters there are, beside ``attr.NAME``.
        compiled: says of which type an experiment's attributes are.

    Raises:
        Problem: 400 for what is not UTF-8, 422 naming the parameter that is wrong; values are never repeated.

    >>> request_document(b"experiment=x&unit=m-1&attr.city=Oslo", ("experiment", "unit", "attributes"), None)
    {'experiment': 'x', 'unit': 'm-1', 'attributes': {'city': 'Oslo'}}
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeError:
        raise Problem(400, "the query string is not percent-encoded UTF-8", code="bad_query") from None
    except ValueError:
        raise Problem(400, f"the query string has more than {MAX_PARAMETERS} parameters", code="bad_query") from None
    document: dict[str, Any] = {}
    attributes: dict[str, list[str]] = {}
    for name, value in pairs:
        if name.startswith(PREFIX) and len(name) > len(PREFIX):
            attributes.setdefault(name.removeprefix(PREFIX), []).append(value)
        elif name not in fields:
            advice = near(name, fields) or f"there are: {', '.join(fields)}, attr.NAME"
            raise _wrong(name[:64], "unknown_field", f"there is no such parameter; {advice}")
        elif name in document:
            raise _wrong(name, "repeated", "is given twice")
        else:
            document[name] = value
    if "attributes" in document:
        document["attributes"] = _object(document["attributes"])
    if attributes:
        types = _types(document.get("experiment"), compiled)
        typed = {name: _typed(values, types.get(name)) for name, values in attributes.items()}
        document["attributes"] = {**document.get("attributes", {}), **typed}
    return document


def _object(text: str) -> dict[str, Any]:
    try:
        return _decode(text.encode(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise _wrong("attributes", "wrong_type", 'is not a JSON object; write it like {"city":"Oslo"}') from None


def _types(experiment: object, compiled: CompiledSnapshot | None) -> dict[str, str]:
    plan = None if compiled is None or not isinstance(experiment, str) else compiled.experiments.get(experiment)
    return {} if plan is None else {name: attribute.type for name, attribute in plan.plan.attributes.items()}


def _typed(values: list[str], kind: str | None) -> Any:
    """Return a value as its declared type.

    >>> _typed(["7.5"], "number"), _typed(["true"], "boolean"), _typed(["a", "b"], "list"), _typed(["7"], None)
    (7.5, True, ['a', 'b'], '7')
    """
    text = values[-1]
    if kind == "list":
        return values
    if kind == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    if kind == "number" and _NUMBER.match(text):
        value = float(text)
        return int(text) if text.lstrip("-").isdigit() and abs(value) < 2**53 else value
    return text


def _wrong(name: str, code: str, message: str) -> Problem:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return Problem(422, "this cannot be decided", code="invalid", errors=[FieldProblem(pointer, code, message)])
