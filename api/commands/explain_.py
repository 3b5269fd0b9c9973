"""``equipoise explain``: why did this member get B?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from api.commands.options import asking_options

if TYPE_CHECKING:
    from allocation import Decision, Step

MARKS = {True: "✓", False: "✗", None: "→"}


@click.command()
@asking_options
@click.pass_obj
def command(
    obj: dict[str, Any], experiment: str, unit: str, attributes: str | None, now: str | None, occasion: str, output: str
) -> None:
    """Say step by step why UNIT gets its variant in EXPERIMENT, or gets none.

    The same code that decides writes down its steps, from the published snapshot and the published member state. What
    an application answered in the last seconds, before the state was published again, is not in it.
    """
    from api.commands.asking import answered, as_json, question

    asked = question(obj, experiment, unit, attributes, now, occasion)
    answer, steps = answered(asked)
    if output == "json":
        data = {"decision": as_json(answer), "steps": msgspec.to_builtins(steps)}
        for step, written in zip(steps, data["steps"], strict=True):
            written["text"] = _sentence(step)
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        click.echo(as_text(answer, steps))


def as_text(answer: Decision, steps: list[Step]) -> str:
    """Return an explanation for people, one line a step."""
    from allocation import REASONS
    from api.explanation import instant

    lines = [
        f"{answer.experiment}, {answer.unit_type or 'unit'} {answer.unit}, at {instant(answer.at)}",
        f"snapshot {answer.snapshot}, revision {answer.revision}, phase {answer.phase}",
        "",
    ]
    width = max(len(step.name) for step in steps) + 2
    lines += [f"  {MARKS[step.goes_on]} {step.name.replace('_', '-'):{width}}{_sentence(step)}" for step in steps]
    lines += ["", f"{answer.variant or 'no variant'}: {answer.reason}. {REASONS[answer.reason]}"]
    if answer.offer is not None:
        lines.append(f"offer: {json.dumps(answer.offer, ensure_ascii=False)}")
    if answer.decision_id is not None:
        lines.append(f"decision id: {answer.decision_id}")
    if answer.state_unknown:
        lines.append(
            "The member's state is needed and not known here (not published, or too old): answered without it."
        )
    return "\n".join("".join(c if c.isprintable() else "�" for c in line) for line in lines)


def _sentence(step: Step) -> str:
    from api.explanation import sentence

    return sentence(step)
