"""``Idempotency-Key`` on management POSTs: a repeat gets the first answer again, whichever replica it reaches.

Answers are kept as they were given, but for secrets, which are shown once: see :func:`keep_instead`.
"""

from __future__ import annotations

import hashlib
import re

from flask import Flask, Response, g, request

from api import logs
from api.errors import Problem
from api.management.calling import caller
from api.management.describing import described
from api.services import Services
from experiments.keeping import idempotency
from experiments.keeping.idempotency import Asked, Claim, Kept, OtherRequestError, UnderWayError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")
_log = logs.get("management")


def install(app: Flask, services: Services) -> None:
    """Have every address that is described as idempotent honour the header."""

    def begin() -> Response | None:
        view = app.view_functions.get(request.endpoint or "")
        description = described(view)
        text = request.headers.get(HEADER)
        if text is None or description is None or not description.idempotent or request.method != "POST":
            return None
        try:
            found = idempotency.claim(services.store, _asked(text), services.now_us())
        except OtherRequestError:
            detail = f"this {HEADER} was used for another request; give each request its own"
            raise Problem(422, detail, code="idempotency_key_reused") from None
        except UnderWayError:
            raise Problem(
                409,
                "the first request with this key is still under way; come again in a second",
                code="idempotency_key_in_use",
                headers={"Retry-After": "1"},
            ) from None
        if isinstance(found, Claim):
            g.claim = found
            return None
        return Response(found.body, found.status, headers={**found.headers, REPLAYED: "true"})

    def end(response: Response) -> Response:
        claimed: Claim | None = g.pop("claim", None)
        if claimed is None:
            return response
        try:
            if response.status_code >= 500:
                idempotency.give_up(services.store, claimed)
            else:
                headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
                body = g.pop("kept_instead", None) or response.get_data(as_text=True)
                idempotency.keep(services.store, claimed, Kept(response.status_code, headers, body))
        except Exception as error:  # noqa: BLE001 - what was asked is done: its answer goes out
            _log.error("idempotent_answer_not_kept", error=type(error).__name__, request_id=g.get("request_id"))
        return response

    app.before_request(begin)
    app.after_request(end)


def keep_instead(body: bytes) -> None:
    """Have this request's repeats answered with another body: one without the secret that is shown only once."""
    g.kept_instead = body.decode()


def _asked(text: str) -> Asked:
    # The draft has it as a quoted string; most clients send it bare.
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.match(key):
        raise Problem(400, f"{HEADER} is 1 to 255 visible ASCII characters, such as a UUID", code="bad_header")
    parts = (
        request.query_string,
        request.mimetype.encode(),
        request.headers.get("If-Match", "").encode(),
        request.get_data(),
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    asked_by = caller()
    return Asked(asked_by.selector or asked_by.name, request.method, request.path, key, digest.hexdigest())
