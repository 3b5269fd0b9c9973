"""Pages of other origins: which of them may ask, as the operator names them (``EQUIPOISE_CORS_ORIGINS``).

Keys travel in headers, never in cookies, so a page can do no more with an answer than with the key that it holds.
"""

from __future__ import annotations

from api.hot.http import Message, Scope, Send, header

_MAX_AGE_S = 600
_TAKEN = b"authorization, content-type, content-encoding, x-api-key, if-none-match, traceparent, x-request-id"
_SHOWN = b"etag, retry-after, x-request-id"


def allowed_origin(scope: Scope, origins: tuple[str, ...]) -> str | None:
    """Return the origin that asks when it may, else ``None``.

    >>> allowed_origin({"headers": [(b"origin", b"https://shop.example")]}, ("https://shop.example",))
    'https://shop.example'
    """
    origin = header(scope, b"origin")
    if origin is None or not origins:
        return None
    return origin if origin in origins or "*" in origins else None


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks what it may send."""
    return scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None


async def send_preflight(send: Send, origin: str, methods: str) -> None:
    """Tell a browser what a page of this origin may send."""
    headers = [
        *_of(origin),
        (b"access-control-allow-methods", methods.encode()),
        (b"access-control-allow-headers", _TAKEN),
        (b"access-control-max-age", b"%d" % _MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def readable_by(origin: str, send: Send) -> Send:
    """Return a ``send`` whose answers a page of this origin may read, errors too."""

    async def readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            shown = [*_of(origin), (b"access-control-expose-headers", _SHOWN)]
            message = {**message, "headers": [*message["headers"], *shown]}
        await send(message)

    return readable


def _of(origin: str) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
