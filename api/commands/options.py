"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Share(click.ParamType[float]):
    """A number that may be written as a percentage: 0.05 or 5%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share, or say how to write it."""
        text = str(value).strip()
        try:
            return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{text!r} is no share; write 0.05 or 5%", param, ctx)


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies options, the first one shown first."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def asking_options(command: F) -> F:
    """Add what ``decide`` and ``explain`` ask with: experiment, unit, attributes, time, occasion; text or JSON."""
    return _together(
        click.argument("experiment"),
        click.argument("unit"),
        click.option(
            "--attributes", metavar="JSON", help="Attributes of the request; stored ones named here are supposed."
        ),
        click.option("--now", metavar="TIME", help="Decide as of this time, such as 2026-03-03T09:00:00+08:00."),
        click.option("--occasion", default="", metavar="ID", help="What the decision is for: a send id, a cart id."),
        click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
    )(command)


def report_options(command: F) -> F:
    """Add how ``analyze`` and ``report`` print: the form and the language."""
    return _together(
        click.option(
            "--output",
            type=click.Choice(["table", "json", "csv", "csv-details", "html"]),
            default="table",
            show_default=True,
            help="How to print the report; csv is its scorecard, csv-details all else.",
        ),
        click.option(
            "--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts."
        ),
    )(command)


def running_options(log_level_help: str) -> Callable[[F], F]:
    """Return what adds how ``serve`` and ``worker`` are watched: the address of the metrics, and the log's level."""
    return _together(
        click.option(
            "--metrics",
            metavar="HOST:PORT",
            envvar="EQUIPOISE_METRICS",
            help="Where Prometheus asks, or off.  [default: 127.0.0.1:9464 where that is free]",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            envvar="EQUIPOISE_LOG_LEVEL",
            help=log_level_help,
        ),
    )
