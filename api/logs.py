"""The service's own log on stderr: event names and numbers, never ids of members, never bodies.

JSON lines for whoever collects them; at a terminal the same as plain lines, for whoever looks.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str = "info", *, plain: bool | None = None, process: str | None = None) -> None:
    """Send structlog, and the warnings of what uses the standard library, to stderr.

    Args:
        level: one of ``LEVELS``. At ``info`` no request that only looks is written down.
        plain: lines for people instead of JSON; by default when stderr is a terminal.
        process: of a host's several, as every line shall name it.
    """
    people = sys.stderr.isatty() if plain is None else plain
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(plain_line if people else _json_line))
    logging.basicConfig(level=max(logging.WARNING, LEVELS[level]), handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _named(process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _where_it_failed,
            (lambda _logger, _method, event: plain_line(event))
            if people
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _named(process: str | None) -> structlog.typing.Processor:
    def name(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if process is not None:
            event["process"] = process
        return event

    return name


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def trace_of(request_id: str | None, traceparent: str | None) -> dict[str, str]:
    """Return the fields by which a line is found from the caller's side; what is no plain id is left out.

    Args:
        request_id: the caller's ``X-Request-Id``.
        traceparent: its header of that name (W3C Trace Context).

    >>> trace_of("send-42", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    {'request_id': 'send-42', 'trace_id': '0af7651916cd43dd8448eb211c80319c'}
    >>> trace_of("has spaces", "no")
    {}
    """
    fields = {}
    if request_id is not None and _REQUEST_ID.match(request_id):
        fields["request_id"] = request_id
    found = _TRACEPARENT.match(traceparent) if traceparent is not None else None
    if found is not None:
        fields["trace_id"] = found[1]
    return fields


_SHORTENED = frozenset({"at", "level", "part", "event", "request_id", "trace_id", "process"})


def plain_line(event: Mapping[str, object]) -> str:
    """Return an event as a line to look at.

    >>> plain_line({"part": "node", "event": "stopped", "level": "info", "at": "2026-03-03T08:00:00.25Z", "answers": 7})
    '08:00:00 info     node: stopped  answers=7'
    """
    rest = {name: value for name, value in event.items() if name not in _SHORTENED}
    words = f"{str(event.get('at', ''))[11:19]} {event.get('level', ''):<8} {event.get('part', '')}: {event['event']}"
    return "  ".join([words, *(f"{name}={value}" for name, value in rest.items())])


def _json_line(event: Mapping[str, object]) -> str:
    return json.dumps(event, ensure_ascii=False)


class _Line(logging.Formatter):
    """A record of the standard library in the form of our own lines."""

    def __init__(self, write: Callable[[Mapping[str, object]], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"part": record.name, "event": record.getMessage(), "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[1] is not None:
            line |= {"error": type(record.exc_info[1]).__name__, "trace": _places(record.exc_info[1])}
        line["at"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        return self._write(line)


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]]


def _where_it_failed(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace ``exc_info`` by the places the error passed; its message and locals may hold what a caller sent."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else sys.exc_info()[1]
        event["trace"] = _places(error) if error is not None else []
    return event


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one part of the service."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
