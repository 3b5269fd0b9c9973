"""A constant answer on our server, the limit that `bench.http` measures ours against.

The same uvicorn, protocol and settings as `equipoise serve`; the application says the same bytes to everybody.
``python -m bench.http_constant PORT SIZE``, the size being that of the body.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from api.front.protocol import Protocol
from api.hot.http import Receive, Scope, Send


def application(size: int) -> Any:
    """Return an ASGI application whose answer has so many bytes of JSON, and the headers of ours."""
    body = b'{"variant":"' + b"a" * (size - 14) + b'"}'
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ],
    }
    end = {"type": "http.response.body", "body": body}

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start)
        await send(end)

    return answer


if __name__ == "__main__":
    uvicorn.run(
        application(int(sys.argv[2])),
        port=int(sys.argv[1]),
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        loop="uvloop",
        http=Protocol,
        ws="none",
        proxy_headers=False,
    )
