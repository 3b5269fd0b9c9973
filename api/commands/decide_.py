"""``equipoise decide``: one member's variant from the published snapshot, for scripts and for looking."""

from __future__ import annotations

import json
from typing import Any

import click

from api.commands.options import asking_options


@click.command()
@asking_options
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
