"""The OpenAPI 3.1 document: what `describe` says of each address, with what every address has in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from api.management.describing import Description, Unnamed, described
from api.management.hot_spec import ProblemDocument, with_hot_paths
from experiments.definitions.base import KEY

Schema = dict[str, Any]
REF = "#/components/schemas/{model}"
_MSGSPEC_REF = "#/components/schemas/{name}"
PROBLEM = {"application/problem+json": {"schema": {"$ref": REF.format(model="ProblemDocument")}}}
_ALWAYS = {
    400: "A parameter or header is wrong; detail names it",
    401: "An API key is needed, or this one does not work",
    403: "The API key lacks the scope",
    503: "The database does not answer, or too many requests wait; come again after Retry-After seconds",
}
_WITH_BODY = {
    408: "The body was not complete in time",
    413: "The body is too large: 1 MB at most",
    415: "The content type is not one that is taken here",
    422: "The body does not fit; errors names each wrong field by its JSON pointer",
}
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, as Segment's libraries send it"},
}
DESCRIPTION = """\
Decides which offer each member gets, and finds out which offers pay.

While nobody has made an API key the service is open. From the first key on every request needs one that has the scope
named with it: `decide`, `ingest`, `report` or `manage` (which may read reports too).

Errors are `application/problem+json` with a JSON pointer to each wrong field; a request that changes something changes
all of it or nothing. Lists are `{items, next_cursor}`: send `next_cursor` back as `cursor`. What has an `ETag` is
changed with `If-Match`. A POST that takes `Idempotency-Key` answers a repeat with the first answer, for 24 hours."""
_SCOPES = {"decide", "ingest", "report", "manage"}


def install(app: Flask) -> None:
    """Have the application's document completed."""
    app.config["INFO"] = {"description": DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
    app.spec_processor(lambda spec: completed(app, spec))  # type: ignore[attr-defined]


def completed(app: Flask, spec: Schema) -> Schema:
    """Return APIFlask's document with parameters, bodies, answers, problems and security of every address."""
    spec["openapi"] = "3.1.0"
    found = {
        (_path(rule), method.lower()): description
        for rule in app.url_map.iter_rules()
        if (description := described(app.view_functions[rule.endpoint])) is not None
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    schemas = Schemas(found.values())
    spec.setdefault("components", {}).setdefault("schemas", {}).update(schemas.components)
    for (path, method), description in found.items():
        operation = spec["paths"][path][method]
        _complete(operation, description, method, schemas)
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            if isinstance(operation, dict):
                _path_parameters(path, operation)
    with_hot_paths(spec)
    _secure_hot_paths(spec)
    spec["components"]["securitySchemes"] = SECURITY_SCHEMES
    for operations in spec["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                _secure(operation)
    result: Schema = _plain_code(spec)
    return result


def security(need: str | None) -> list[dict[str, list[str]]]:
    """Return who may call: nobody needs a key while the service is open."""
    if need is None:
        return [{}]
    return [{}, *({name: [need]} for name in SECURITY_SCHEMES)]


def _complete(operation: Schema, description: Description, method: str, schemas: Schemas) -> None:
    operation["parameters"] = [*operation.get("parameters", ()), *_parameters(description, method)]
    if description.body is not None:
        operation["requestBody"] = {
            "required": description.body_required,
            "content": _content(description.body, schemas.taken, description.example),
        }
    problems = {**_ALWAYS, **description.problems}
    if description.body is not None:
        problems = {**_WITH_BODY, **problems}
    if description.if_match is not None:
        problems[412] = "Somebody else changed it after it was read: read it again and repeat"
    if description.if_match == "required":
        problems[428] = "It exists: send If-Match with the ETag that GET returned"
    if description.idempotent:
        problems[409] = problems.get(409, "") or "The first request with this Idempotency-Key is still under way"
        problems.setdefault(422, "The Idempotency-Key was used for another request")
    if any(parameter["in"] == "path" for parameter in operation["parameters"]):
        problems.setdefault(404, "There is none of this name")
    responses: dict[str, Schema] = {}
    for status, model in description.answers.items():
        responses[str(status)] = {"description": _MEANINGS[status], "content": _content(model, schemas.given)}
        headers = dict(description.headers.get(status, {}))
        if description.etag and status != 202:
            headers["ETag"] = "Which version this is"
        if description.idempotent:
            headers["Idempotency-Replayed"] = "`true` where this is the answer of an earlier request"
        if headers:
            responses[str(status)]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
            }
    if description.etag and method == "get":
        responses["304"] = {"description": "It is what If-None-Match names"}
    for status, meaning in sorted(problems.items()):
        responses[str(status)] = {"description": meaning, "content": PROBLEM}
        if status == 503:
            responses["503"]["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    operation["responses"] = responses
    operation["security"] = security(description.need or ("report" if method == "get" else "manage"))


_MEANINGS = {200: "The answer", 201: "It was created", 202: "It is under way"}


def _parameters(description: Description, method: str) -> list[Schema]:
    result: list[Schema] = []
    if description.query is not None:
        schema = description.query.model_json_schema(ref_template=REF)
        for name, part in schema["properties"].items():
            text = part.pop("description", None)
            part.pop("title", None)
            kinds = [kind for kind in part.pop("anyOf", ()) if kind != {"type": "null"}]
            if kinds:
                part = {**kinds[0], **part}
            if part.get("default", ...) is None:
                del part["default"]
            parameter: Schema = {"name": name, "in": "query", "required": False, "schema": part}
            if text:
                parameter["description"] = text
            result.append(parameter)
    if description.if_match is not None:
        result.append(
            _header(
                "If-Match",
                "The ETag that was read; needed to change what exists."
                if description.if_match == "required"
                else "The ETag that was read; 412 when it is another one by now.",
                {"type": "string", "pattern": r'^"[0-9]{1,18}"$', "examples": ['"1"']},
            )
        )
    if description.etag and method == "get":
        result.append(_header("If-None-Match", "The ETag that is there already; 304 then.", {"type": "string"}))
    if description.idempotent:
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$", "examples": ["8e03978e-40d5-43dd-bc93-6894a57f9324"]}
        result.append(_header("Idempotency-Key", "Makes it safe to send this request again, for 24 hours.", schema))
    return result


def _header(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


_PATH_PARAMETERS: dict[str, Schema] = {
    "key": {
        "description": "Key of the definition.",
        "schema": {"type": "string", "pattern": KEY, "examples": ["winback"]},
    },
    "number": {"description": "Number, from 1.", "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}},
}


def _path_parameters(path: str, operation: Schema) -> None:
    """Say what the parts of an address are, and keep their order."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"] in _PATH_PARAMETERS:
            if path.startswith("/v1/keys/"):
                continue
            parameter |= _PATH_PARAMETERS[parameter["name"]]


def _secure(operation: Schema) -> None:
    """Write the scope into the description too: few viewers show it."""
    needs = {need for way in operation.get("security", ()) for scopes in way.values() for need in scopes} & _SCOPES
    if needs:
        text = operation.get("description", "")
        operation["description"] = f"{text}\n\nScope: `{min(needs)}`.".strip()


def _secure_hot_paths(spec: Schema) -> None:
    """Say of what the front answers which scope it takes, as the table of its addresses has it."""
    from api.hot.routes import find  # which knows everything that answers

    for path, operations in spec["paths"].items():
        route = find(path)
        if route is not None:
            for operation in operations.values():
                operation.setdefault("security", security(route.need))


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def _content(body: Any, schema: Callable[[Any], Schema], example: Any = None) -> Schema:
    content: Schema = {name: {"schema": schema(part)} for name, part in _by_type(body).items()}
    if example is not None:
        content["application/json"]["examples"] = {"example": {"value": example}}
    return content


def _by_type(body: Any) -> Mapping[str, Any]:
    return body if isinstance(body, Mapping) and all("/" in name for name in body) else {"application/json": body}


class Schemas:
    """The models of all addresses as components: as they are taken, with shorthands, and as they are given."""

    def __init__(self, descriptions: Iterable[Description]) -> None:
        self._refs: dict[Any, Schema] = {}
        self.components: dict[str, Schema] = {}
        asked: set[tuple[type[BaseModel], Literal["validation", "serialization"]]] = set()
        structs: set[type] = {ProblemDocument}
        unnamed: set[type[BaseModel]] = set()
        for description in descriptions:
            for mode, part in _parts(description):
                if isinstance(part, Unnamed):
                    unnamed.add(part.model)
                    asked.add((part.model, "validation"))
                elif issubclass(part, BaseModel):
                    asked.add((part, mode))
                else:
                    structs.add(part)
        ordered = sorted(asked, key=lambda pair: (pair[0].__name__, pair[1]))
        refs, written = models_json_schema(ordered, ref_template=REF)
        self._refs |= refs
        self.components |= written["$defs"]
        self._add_structs(sorted(structs, key=lambda kind: kind.__name__))
        for model in unnamed:
            self._add_unnamed(model)

    def taken(self, part: Any) -> Schema:
        """Return the schema of a body."""
        if isinstance(part, Unnamed):
            return {"$ref": REF.format(model=f"{part.model.__name__}Body")}
        return self._one(part, "validation")

    def given(self, part: Any) -> Schema:
        """Return the schema of an answer."""
        return self._one(part, "serialization")

    def _one(self, part: Any, mode: str) -> Schema:
        if isinstance(part, Mapping):
            return dict(part)
        if isinstance(part, type):
            return self._refs.get((part, mode)) or {"$ref": REF.format(model=part.__name__)}
        return {"anyOf": [self._one(kind, mode) for kind in part.__args__]}  # a union

    def _add_structs(self, structs: Sequence[type]) -> None:
        _, made = msgspec.json.schema_components(structs, schema_hook=_any_json, ref_template=_MSGSPEC_REF)
        twice = self.components.keys() & made.keys()
        if twice:
            raise RuntimeError(f"two models share a name in the OpenAPI document: {', '.join(sorted(twice))}")
        self.components |= made

    def _add_unnamed(self, model: type[BaseModel]) -> None:
        """Add a definition's body: kind and key may be absent, and what the service made is not written by hand."""
        whole = self.components[self._refs[model, "validation"]["$ref"].rpartition("/")[2]]
        properties = {name: part for name, part in whole["properties"].items() if name != "made"}
        required = [name for name in whole.get("required", ()) if name not in {"kind", "key"}]
        self.components[f"{model.__name__}Body"] = {
            **{name: part for name, part in whole.items() if name not in {"title", "required"}},
            "properties": properties,
            **({"required": required} if required else {}),
        }


def _parts(description: Description) -> Iterator[tuple[Literal["validation", "serialization"], Any]]:
    """Yield every model of an address, and whether it is taken or given."""
    for part in _by_type(description.body).values():
        if isinstance(part, type | Unnamed):
            yield "validation", part
    for answer in description.answers.values():
        for part in _by_type(answer).values():
            for kind in getattr(part, "__args__", [part]):
                if isinstance(kind, type):
                    yield "serialization", kind


def _plain_code(value: Any) -> Any:
    """Return the document with docstrings' double backticks as Markdown writes code."""
    if isinstance(value, dict):
        return {name: _plain_text(name, part) for name, part in value.items()}
    return [_plain_code(part) for part in value] if isinstance(value, list) else value


def _plain_text(name: str, part: Any) -> Any:
    if name in {"description", "summary"} and isinstance(part, str):
        text = part.partition("\n>>> ")[0].rstrip()  # examples of docstrings are for who reads the code
        return text.replace("``", "`" if name == "description" else "")  # viewers write summaries as they are
    return _plain_code(part)


def _any_json(kind: type) -> Schema:
    """Return the schema of a field that holds any JSON."""
    if kind is object:
        return {"description": "Any JSON."}
    raise NotImplementedError
