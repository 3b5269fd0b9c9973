"""The service's own log: JSON lines on stderr with event names and numbers, never ids of members, never bodies."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import structlog


def configure(level: int = logging.INFO) -> None:
    """Send structlog and the standard library's warnings to stderr as JSON lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _where_it_failed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _where_it_failed(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace ``exc_info`` by the places the error passed; its message and locals may hold what a caller sent."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else sys.exc_info()[1]
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        event["trace"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    return event


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one part of the service."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
