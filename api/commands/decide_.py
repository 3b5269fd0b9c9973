"""``equipoise decide``: one member's variant from the published snapshot, for scripts and for looking."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.argument("experiment")
@click.argument("unit")
@click.option("--attributes", metavar="JSON", help="Attributes of the request; stored ones named here are supposed.")
@click.option("--now", metavar="TIME", help="Decide as of this time, such as 2026-03-03T09:00:00+08:00.")
@click.option("--occasion", default="", metavar="ID", help="What the decision is for: a send id, a cart id.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(
    obj: dict[str, Any], experiment: str, unit: str, attributes: str | None, now: str | None, occasion: str, output: str
) -> None:
    """Decide UNIT's variant in EXPERIMENT.

    The answer is that of POST /v1/decide, from the snapshot on this machine's disk; it is not logged.
    """
    from api.commands.asking import answered, as_json, question

    answer, _ = answered(question(obj, experiment, unit, attributes, now, occasion))
    if output == "json":
        click.echo(json.dumps(as_json(answer), ensure_ascii=False, indent=2))
    else:
        click.echo(f"{answer.variant or '-'}\t{answer.reason}")
