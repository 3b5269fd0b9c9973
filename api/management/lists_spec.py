"""Lists in the OpenAPI document: what `api.hot.uploads` takes and answers."""

from __future__ import annotations

from typing import Any

import msgspec

from api.hot.list_job import ListJob
from experiments.list_files import FORMATS

_REF = "#/components/schemas/{name}"
_LISTS = "/v1/experiments/{key}/assignments"
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def schemas() -> dict[str, Any]:
    """Return the components that `paths` refers to."""
    _, found = msgspec.json.schema_components((ListJob,), ref_template=_REF)
    return dict(found)


def paths() -> dict[str, Any]:
    """Return the path items."""
    from api.management.openapi import security  # which imports the hot paths

    key = _parameter("key", "path", {"type": "string"}, "The experiment's key")
    job = _parameter("id", "path", {"type": "string"}, "The job's id")
    decides = {"security": security("decide")}
    return {
        _LISTS: {
            "post": {
                **decides,
                "summary": "Take a list of members; a job decides everybody on it and makes a file.",
                "description": "The job follows from the experiment, the list's bytes and the parameters: sending the "
                "same again answers the same job. A job that failed begins again.",
                "tags": ["Serving"],
                "parameters": [key, *_query()],
                "requestBody": {
                    "required": True,
                    "description": "UTF-8 or GB18030, plain or gzip, with a header; or Parquet",
                    "content": dict.fromkeys(("text/csv", "application/vnd.apache.parquet"), _BINARY),
                },
                "responses": {
                    "202": {**_job("The job, whose address stands in Location"), "headers": {"Location": _text()}},
                    "200": {**_job("The same list's job, which is done"), "headers": {"Location": _text()}},
                    **_problems(
                        {
                            "404": "No such experiment is published",
                            "408": "Too little of the body came",
                            "409": "The experiment does not run; detail says what to do",
                            "413": "The list is too large",
                            "415": "A form; the body is the file itself",
                            "422": "A wrong parameter, or an empty list",
                            "503": "No room, no disk or no database just now; come again after Retry-After seconds",
                        }
                    ),
                },
            }
        },
        _LISTS + "/{id}": {
            "get": {
                **decides,
                "summary": "Say how far a list's job is.",
                "tags": ["Serving"],
                "parameters": [key, job],
                "responses": {"200": _job("The job"), **_problems({"404": "No such job", "503": _AWAY})},
            }
        },
        _LISTS + "/{id}/file": {"get": {**_download([key, job]), **decides}},
        "/v1/jobs/{id}/result": {"get": {**_download([job]), "security": security("report")}},
    }


_AWAY = "The database does not answer just now"


def _download(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = [kind.partition(";")[0] for kind in FORMATS.values()]
    return {
        "summary": "Send the file that a job made; it never changes.",
        "tags": ["Serving"],
        "parameters": [*parameters, _parameter("If-None-Match", "header", {"type": "string"}, "An ETag", False)],
        "responses": {
            "200": {
                "description": "The file",
                "headers": {"ETag": _text(), "X-Checksum-SHA256": _text(), "Repr-Digest": _text()},
                "content": dict.fromkeys(kinds, _BINARY),
            },
            "304": {"description": "It is the file that the caller has"},
            **_problems(
                {
                    "404": "No such job",
                    "409": "The job is not done, or failed",
                    "410": "The file is no longer kept",
                    "503": _AWAY,
                }
            ),
        },
    }


def _query() -> list[dict[str, Any]]:
    text = {"type": "string"}
    return [
        _parameter("occasion", "query", {**text, "pattern": "^[A-Za-z0-9._-]{0,64}$"}, "What the list is for", False),
        _parameter("unit_column", "query", text, "Column of unit ids; by default the one likely column", False),
        _parameter("send_at", "query", {**text, "format": "date-time"}, "When the messages will leave", False),
        _parameter("format", "query", {**text, "enum": list(FORMATS), "default": "csv"}, "Of the file", False),
        _parameter("encoding", "query", text, "Of a CSV; found out by default", False),
        _parameter(
            "balance_on", "query", text, "Attributes to split evenly within, of the strata, with commas between", False
        ),
    ]


def _parameter(name: str, place: str, schema: dict[str, Any], meaning: str, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "description": meaning, "schema": schema}


def _text() -> dict[str, Any]:
    return {"schema": {"type": "string"}}


def _job(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": {"$ref": _REF.format(name="ListJob")}}}}


def _problems(meanings: dict[str, str]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(name="ProblemDocument")}}}
    return {status: {"description": meaning, "content": content} for status, meaning in meanings.items()}
