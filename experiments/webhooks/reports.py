"""What a new report tells webhooks: that it says something else, that the split is wrong, that it stays undecided."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from experiments.report.document import Report, Verdict
from experiments.webhooks.events import announce


class _Quality(msgspec.Struct, frozen=True):
    status: str
    p_value: float | None = None


class Before(msgspec.Struct, frozen=True):
    """The parts of the report before that matter here, read without the rest."""

    srm: _Quality
    verdict: Verdict | None = None


def announce_report(connection: Connection, report: Report, number: int, before: str | None) -> None:
    """Announce what a kept report has changed, in the transaction that keeps it.

    Args:
        connection: of that transaction.
        report: the new one.
        number: of the new one.
        before: the document of the one before, as JSON; ``None`` for the first.
    """
    old = None if before is None else msgspec.json.decode(before, type=Before)
    where: dict[str, Any] = {"experiment": report.plan.experiment, "phase": report.plan.phase, "report": number}
    was = None if old is None or old.verdict is None else (old.verdict.code, old.verdict.variant)
    verdict = report.verdict
    if verdict is not None and (verdict.code, verdict.variant) != was:
        reading = {"reading": verdict.code, "variant": verdict.variant, "sentence": verdict.sentence}
        before_it = None if was is None else {"reading": was[0], "variant": was[1]}
        announce(connection, "report.reading_changed", {**where, **reading, "before": before_it})
    if report.srm.status == "fail" and (old is None or old.srm.status != "fail"):
        announce(connection, "report.srm_failed", {**where, "p_value": report.srm.p_value})
    if undecided_at_the_end(verdict) and not undecided_at_the_end(None if old is None else old.verdict):
        data = {**where, "planned_units": report.plan.planned_units, "planned_days": report.plan.planned_days}
        announce(connection, "report.underpowered", data)


def undecided_at_the_end(verdict: Verdict | None) -> bool:
    """Tell whether everything that was planned is reached and the answer is still to go on."""
    if verdict is None or verdict.code != "keep_running":
        return False
    planned = [rule for rule in verdict.rules if rule.code in {"planned_sample", "planned_days"}]
    return verdict.stands == "over" or (bool(planned) and all(rule.met for rule in planned))
