"""Reading what management requests carry, and answering JSON; every wrong field gets its pointer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from pydantic import BaseModel, ValidationError

from api.errors import FieldProblem, Problem, field_problem, malformed
from experiments.definitions.errors import DefinitionError, pointer
from experiments.definitions.loader import Loaded, load_text, load_values
from experiments.definitions.reader import read_text

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json\Z")
_ETAG = re.compile(r'\s*"([0-9]{1,18})"\s*\Z')

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def json_value() -> Any:
    """Return the request's JSON body.

    Raises:
        Problem: 415 for another content type, 400 for what is not JSON.
    """
    if not JSON_TYPE.match(request.mimetype):
        raise Problem(
            415,
            "this address takes JSON; send Content-Type: application/json",
            code="unsupported_media_type",
            headers={"Accept-Post": "application/json"},
        )
    body = request.get_data()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    try:
        # Read once more by the reader of definition files: it refuses what no store can keep, such as NUL, and keys
        # that stand twice, where JSON lets the last one win.
        read_text(body.decode(), "body.json")
    except DefinitionError as error:
        raise definition_problem(error, numbered=isinstance(value, list)) from None
    return value


def json_struct(kind: type[T]) -> T:
    """Return the request's JSON body as a struct.

    Raises:
        Problem: 415, 400, or 422 with a pointer.
    """
    value = json_value()
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        known = getattr(kind, "__struct_fields__", ())
        raise Problem(422, "the body does not fit", code="invalid", errors=[field_problem(error, known)]) from None


def json_model(model: type[M], *, empty: bool = False) -> M:
    """Return the request's JSON body as a model.

    Args:
        model: what it must fit.
        empty: whether the body may be left out.

    Raises:
        Problem: 415, 400, or 422 with a pointer to each wrong field; none of them repeats a value.
    """
    value = {} if empty and not request.get_data() else json_value()
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = [
            FieldProblem(pointer(found["loc"]), found["type"], found["msg"][:1].lower() + found["msg"][1:])
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Problem(422, "the body does not fit", code="invalid", errors=fields[:100]) from None


def documents() -> list[Loaded]:
    """Return the definitions of the body: YAML (several with ``---``), a JSON object, or a JSON array.

    Raises:
        Problem: 415, 400, or 422 with every wrong field.
    """
    if JSON_TYPE.match(request.mimetype):
        value = json_value()
        if value == []:
            raise _wrong("there is no definition in the list", [FieldProblem("", "too_short", "write one at least")])
        try:
            return load_text(request.get_data().decode(), "body.json")
        except DefinitionError as error:
            raise definition_problem(error, numbered=isinstance(value, list)) from None
    if request.mimetype not in YAML_TYPES:
        raise _yaml_or_json()
    try:
        return load_text(yaml_text(), "body.yaml")
    except DefinitionError as error:
        raise definition_problem(error) from None


def one_definition(kind: str, key: str | None) -> Loaded:
    """Return the body of a PUT as a definition of the address's kind and key, which it may leave out.

    Args:
        kind: of the address.
        key: of the address; ``None`` where the kind has no key.

    Raises:
        Problem: 415, 400, or 422 with every wrong field.
    """
    try:
        if is_yaml():
            read = read_text(yaml_text(), "body.yaml")
        else:
            json_value()
            read = read_text(request.get_data().decode(), "body.json")
        if len(read) != 1:
            raise Problem(422, f"one definition is expected here, not {len(read)}; use POST /v1/definitions")
        value = read[0].value
        if not isinstance(value, dict):
            message = f"must be a mapping with the {kind}'s fields"
            raise _wrong("one thing is wrong; nothing was saved", [FieldProblem("", "invalid", message)])
        named = {"kind": kind} if key is None else {"kind": kind, "key": key}
        value = {**named, **value}
        wrong = [
            FieldProblem(f"/{name}", "invalid", f'must be "{expected}" here, or left out')
            for name, expected in named.items()
            if value[name] != expected
        ]
        if wrong:
            raise _wrong("the address and the body disagree; nothing was saved", wrong)
        return load_values([value])[0]
    except DefinitionError as error:
        raise definition_problem(error) from None


def _wrong(detail: str, fields: list[FieldProblem]) -> Problem:
    return Problem(422, detail, code="invalid_definition", errors=fields)


def yaml_text() -> str:
    """Return a YAML body as text.

    Raises:
        Problem: 400 when it is not UTF-8.
    """
    try:
        return request.get_data().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Problem(400, "the body is not UTF-8; send UTF-8 encoded YAML", code="malformed_yaml") from None


def is_yaml() -> bool:
    """Return whether the body is declared as YAML.

    Raises:
        Problem: 415 when it is neither YAML nor JSON.
    """
    if request.mimetype in YAML_TYPES:
        return True
    if JSON_TYPE.match(request.mimetype):
        return False
    raise _yaml_or_json()


def _yaml_or_json() -> Problem:
    return Problem(
        415,
        "this address takes definitions; send Content-Type: application/yaml or application/json",
        code="unsupported_media_type",
    )


def definition_problem(error: DefinitionError, *, numbered: bool = False) -> Problem:
    """Return wrong definitions as a 422; with ``numbered`` pointers begin with the document's place in the array."""
    fields = []
    for problem in error.problems:
        place, message = problem.pointer, problem.message
        if numbered and problem.document is not None:
            place = f"/{problem.document - 1}{place}"
        if problem.line is not None:
            message = f"line {problem.line}: {message}"
        elif problem.key and problem.document is None:
            message = f"{problem.key}: {message}"
        fields.append(FieldProblem(place, "invalid", message))
    count = len(fields)
    detail = "one thing is wrong; nothing was saved" if count == 1 else f"{count} things are wrong; nothing was saved"
    return Problem(422, detail, code="invalid_definition", errors=fields[:100])


def respond(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a document as JSON."""
    response = Response(msgspec.json.encode(document), status, content_type="application/json")
    response.headers.update(dict(headers or {}))
    if status == 200 and "ETag" in response.headers and request.method in {"GET", "HEAD"}:
        response.headers.setdefault("Cache-Control", "private, no-cache")
        response.make_conditional(request)
    return response


def etag(version_id: int) -> str:
    """Return the entity tag of a version.

    >>> etag(3)
    '"3"'
    """
    return f'"{version_id}"'


def version_from(header: str) -> int:
    """Return the version that an ``If-Match`` header names.

    Raises:
        Problem: 400 when it is not one tag of ours.

    >>> version_from('"3"')
    3
    """
    match = _ETAG.match(header)
    if match is None:
        raise Problem(400, 'If-Match takes the one ETag that GET returned, such as "3"', code="bad_header")
    return int(match[1])
