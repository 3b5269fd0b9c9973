"""When a unit's windows start where a message is what it is treated with: at the send, or when it was scheduled.

Deciding is the trigger for every variant, control too, but between the decision of a list and its send hours go by. A
unit that was sent to starts at its first send; one that was not — control, or a message that failed — at the time the
send was scheduled for, and at its decision where nobody said. So the windows of all variants lie alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.sources.log import LogTables

if TYPE_CHECKING:
    from experiments.measure.population import PopulationPlan


def starts(log: LogTables, plan: PopulationPlan, kept: Any) -> Any:
    """Return unit → ``scheduled_at`` and ``sent_at`` (``None`` for no send), microseconds.

    A send that names a decision belongs to that decision, whatever the sender's clock: it counts when the unit entered
    by it, from the decision at the earliest. One that names none counts for its unit, unless it names another
    experiment; before the decision it is of something else.

    Args:
        log: where the rows lie.
        plan: with the name of the send event.
        kept: units with their ``entered_at``.
    """
    d = enrolments(log, plan).select("unit", "decision_id", "at", "send_at")
    entered = kept.select("unit", "entered_at")
    firsts = d.join(entered, "unit")
    firsts = log.keep(firsts.filter(firsts["at"] == firsts.entered_at), "equipoise_first_decisions")
    e = log.events
    e = e.filter(e.name == plan.send_event, e["at"] <= plan.now_us)
    named = e.filter(e.decision_id.notnull()).select("decision_id", sent_at="at")
    by_id = named.join(firsts.select("decision_id", "unit", "entered_at"), "decision_id")
    loose = e.filter(
        e.decision_id.isnull(), e.unit_type == plan.unit_type, e.experiment.isnull() | (e.experiment == plan.experiment)
    ).select("unit", sent_at="at")
    by_unit = loose.join(entered, "unit")
    by_unit = by_unit.filter(by_unit.sent_at >= by_unit.entered_at)
    by_id = by_id.select("unit", sent_at=_not_before(by_id.sent_at, by_id.entered_at))
    found = by_id.union(by_unit.select("unit", "sent_at"))
    sent = found.group_by("unit").aggregate(sent_at=found.sent_at.min())
    scheduled = firsts.group_by("unit").aggregate(scheduled_at=firsts.send_at.min(), entered_at=firsts.entered_at.min())
    joined = scheduled.left_join(sent, "unit").drop("unit_right")
    return log.keep(
        joined.select("unit", "sent_at", scheduled_at=_not_before(joined.scheduled_at, joined.entered_at)),
        "equipoise_starts",
    )


def enrolments(log: LogTables, plan: PopulationPlan) -> Any:
    """Return the decisions that enrolled a unit in the plan's phase."""
    d = log.decisions
    return d.filter(
        d.experiment == plan.experiment,
        d.unit_type == plan.unit_type,
        d.phase == plan.phase,
        d.kind == "enrolled",
        d["at"] <= plan.now_us,
    )


def _not_before(scheduled: Any, entered: Any) -> Any:
    import ibis

    return ibis.greatest(scheduled.fill_null(entered), entered)
