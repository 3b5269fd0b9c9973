"""Problems as every part of the API reports them: RFC 9457 ``application/problem+json`` with a pointer to each field.

No document here repeats what the caller sent as a unit, an attribute value or a body: those may be personal.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

import msgspec

CONTENT_TYPE = "application/problem+json"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NOT_A_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")
_FIELD_NAME = re.compile(r"[A-Za-z_]{1,40}\Z")
_MSGSPEC_PATH = re.compile(r" - at `(?P<key>key in )?(?P<path>\$[^`]*)`$")


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field of a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the request body; ``""`` is the whole of it."""
    code: str
    message: str


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An answer other than success: status, one sentence, and what is wrong where.

    >>> Problem(404, "there is no experiment 'x'", code="unknown_experiment").document()["title"]
    'Not Found'
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or HTTPStatus(status).name.lower()
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def document(self, request_id: str | None = None) -> dict[str, object]:
        """Return the members of RFC 9457 plus ``errors`` and, where there is one, ``request_id``."""
        document: dict[str, object] = {
            "type": f"urn:equipoise:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [msgspec.structs.asdict(error) for error in self.errors]
        if request_id is not None:
            document["request_id"] = request_id
        return document

    def body(self, request_id: str | None = None) -> bytes:
        """Return the document as JSON bytes."""
        return msgspec.json.encode(self.document(request_id))


def unavailable(detail: str, *, code: str, retry_after_s: int = 1) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(503, detail, code=code, headers={"Retry-After": str(retry_after_s)})


def request_id_from(header: str | None) -> str:
    """Return the caller's ``X-Request-Id`` when it is a plain token, else a new one.

    >>> request_id_from("send-42")
    'send-42'
    >>> len(request_id_from("has spaces"))
    16
    """
    if header is not None and _REQUEST_ID.match(header):
        return header
    return secrets.token_hex(8)


def json_pointer(msgspec_path: str) -> str:
    """Turn msgspec's ``$.a[0].b`` into the JSON pointer ``/a/0/b``.

    >>> json_pointer("$.events[3].unit")
    '/events/3/unit'
    >>> json_pointer("$")
    ''
    """
    pointer = ""
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", msgspec_path.removeprefix("$")):
        if index == "...":  # some key of a mapping: msgspec does not say which
            break
        pointer += "/" + (name or index).replace("~", "~0").replace("/", "~1")
    return pointer


def near(word: str, known: Iterable[str]) -> str:
    """Return advice that names what is spelt nearly so, else ``""``.

    >>> near("attribute", ["unit", "attributes"]), near("zzz", ["unit"])
    ('did you mean "attributes"?', '')
    """
    import difflib  # only for who misspells

    found = difflib.get_close_matches(word[:200].lower(), list(known), n=2, cutoff=0.6)
    return "did you mean " + " or ".join(f'"{name}"' for name in found) + "?" if found else ""


def field_problem(error: msgspec.ValidationError, known: Sequence[str] = ()) -> FieldProblem:
    """Return what msgspec found as a field problem; its messages name types and fields, never values.

    Args:
        error: as msgspec raised it.
        known: the fields there are, to advise on one that is not among them.
    """
    text = str(error)
    place = _MSGSPEC_PATH.search(text)
    pointer = json_pointer(place["path"]) if place else ""
    message = text[: place.start()] if place else text
    if message.startswith("Invalid enum value"):  # which repeats the value
        return FieldProblem(pointer, "wrong_value", "is not a value that this field takes; /docs/api lists them")
    missing = re.fullmatch(r"Object missing required field `([^`]+)`", message)
    unknown = re.fullmatch(r"Object contains unknown field `([^`]+)`", message)
    if missing:
        return FieldProblem(f"{pointer}/{missing[1]}", "missing", "this field is required")
    if unknown:
        advice = near(unknown[1], known) or (f"there are: {', '.join(known)}" if known else "check its spelling")
        # What does not read like the name of a field may be an id: documents that are keyed by member are sent as well.
        named = f"{pointer}/{unknown[1]}" if _FIELD_NAME.match(unknown[1]) else pointer
        return FieldProblem(named, "unknown_field", f"there is no such field; {advice}")
    return FieldProblem(pointer, "wrong_type", message[0].lower() + message[1:] if message else "has a wrong value")


def malformed(error: Exception, body: bytes = b"") -> Problem:
    r"""Return the 400 for a body that is not JSON at all, or JSON nested too deeply to read.

    >>> malformed(RecursionError()).detail
    'the body is nested too deeply; send a flat document'
    >>> malformed(ValueError("invalid character (byte 0)"), b"\xef\xbb\xbf{}").detail
    'the body starts with a byte-order mark; send plain UTF-8 without one'
    """
    if isinstance(error, RecursionError):
        detail = "the body is nested too deeply; send a flat document"
    elif not body.strip():
        detail = "the body is empty; send a JSON document"
    elif body.startswith(b"\xef\xbb\xbf"):
        detail = "the body starts with a byte-order mark; send plain UTF-8 without one"
    elif body.startswith((b"\xff\xfe", b"\xfe\xff")) or isinstance(error, UnicodeDecodeError):
        detail = "the body is not UTF-8; send UTF-8 encoded JSON"
    elif _SURROGATE.search(body) and "invalid" not in str(error).replace("invalid character in unicode escape", ""):
        detail = "the body contains half of a surrogate pair; send valid Unicode"
    elif _NOT_A_NUMBER.search(body):
        detail = "the body is not valid JSON: NaN and Infinity are not numbers there; leave the field out"
    else:
        detail = f"the body is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
    return Problem(400, detail, code="malformed_json")
