"""Bodies that may be gzip: told by their first bytes, whatever the headers say, and never unpacked without a bound."""

from __future__ import annotations

import zlib

from api.errors import Problem
from api.hot.http import Receive, Scope, header, read_body

_MAGIC = b"\x1f\x8b"
MAX_MEMBERS = 100
"""Of one body: client libraries write one. What follows a member is copied, so each costs as much as the body."""
_PLAIN = frozenset({"", "identity", "gzip", "x-gzip"})


async def read_inflated(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Return the whole body, unpacked where it is gzip.

    Args:
        scope: of the request.
        receive: of the request.
        limit: bytes that it may have, packed and unpacked.

    Raises:
        Problem: 413 beyond the limit, 400 for gzip that is broken, 415 for another encoding, 408 for half a body.
        ClientGone: when the caller hangs up.
    """
    encoding = (header(scope, b"content-encoding") or "").strip().lower()
    if encoding not in _PLAIN:
        raise Problem(415, "this Content-Encoding is not taken; send gzip or plain JSON", code="bad_encoding")
    body = await read_body(scope, receive, limit=limit)
    # One client library sends gzip and says it is a form; a proxy may unpack it and leave the header.
    return inflated(body, limit) if body.startswith(_MAGIC) else body


def inflated(body: bytes, limit: int) -> bytes:
    """Unpack gzip of one member or several.

    Raises:
        Problem: 413 as soon as it is known to exceed ``limit`` bytes, or for very many members; 400 when it is broken
            or cut off.

    >>> import gzip
    >>> inflated(gzip.compress(b"one ") + gzip.compress(b"two"), 100)
    b'one two'
    """
    unpacked = b""
    members = 0
    while body:
        members += 1
        if members > MAX_MEMBERS:
            raise Problem(
                413,
                f"the body is gzip of more than {MAX_MEMBERS} members; compress it as one",
                code="body_too_large",
                headers={"Connection": "close"},
            )
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            unpacked += member.decompress(body, limit + 1 - len(unpacked))
        except zlib.error:
            raise Problem(400, "the body is broken gzip; send it again", code="malformed_gzip") from None
        if len(unpacked) > limit:
            raise Problem(
                413,
                f"the body exceeds {limit:,} bytes when it is unpacked; send less at a time",
                code="body_too_large",
                headers={"Connection": "close"},
            )
        if not member.eof:
            raise Problem(400, "the body is gzip that was cut off; send it again", code="malformed_gzip")
        body = member.unused_data
    return unpacked
