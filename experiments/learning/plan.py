"""How an experiment's policy draws now, as it is published: the versions that members meet, floors, masks.

Everything that is read here changes with a row of the audit trail beside it, by which hosts notice that there is
something to publish.
"""

from __future__ import annotations

from fractions import Fraction

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from allocation.plan import BanditPlan, PolicyPlan
from experiments.definitions.allocation import Allocation
from experiments.keeping.records import ExperimentRecord
from experiments.learning import versions
from experiments.learning.versions import Version
from experiments.store.policy_tables import policy_masks

FORCED = Fraction(1, 2)
"""Of an even share: what a variant that too little is known of gets at least."""


def bandit_plan(connection: Connection, record: ExperimentRecord) -> BanditPlan | None:
    """Return how the experiment's policy draws; ``None`` where the hash does.

    Args:
        connection: to the store.
        record: the experiment.
    """
    allocation = record.definition.allocation
    if allocation is None:
        return None
    known = versions.read(connection, record.key)
    return BanditPlan(
        policies=drawing(known),
        control_share=allocation.control.share,
        control_split=allocation.control.split,
        explore=allocation.explore,
        min_shares=dict(allocation.min_share),
        eligible=allocation.rules(),
        masked=masked(connection, record.key),
        forced=forced(record, allocation, known),
        features=allocation.attributes,
    )


def drawing(known: list[Version]) -> tuple[PolicyPlan, ...]:
    """Return the versions that draw: the live one, then the one that is ramped up.

    Before the first one is live, the one that is ramped up stands after an even draw, which has no version: it is
    published with its share and nothing before it.
    """
    live = versions.standing(known, "live")
    ramping = versions.standing(known, "ramping")
    plans = [PolicyPlan(live.version, live.sha256)] if live else []
    if ramping:
        plans.append(PolicyPlan(ramping.version, ramping.sha256, ramping.share))
    return tuple(plans)


def masked(connection: Connection, experiment: str) -> tuple[str, ...]:
    """Return the variants that were taken out, sorted."""
    c = policy_masks.c
    query = sa.select(c.variant).where(c.experiment == experiment).order_by(c.variant)
    return tuple(connection.scalars(query))


def forced(record: ExperimentRecord, allocation: Allocation, known: list[Version]) -> dict[str, str]:
    """Return the least probability of variants that too little is known of, while a policy draws for members.

    Too little is what `update.min_rows_per_variant` says. They get half of an even share each, or what ``explore`` and
    the declared least shares leave.
    """
    if not any(version.state in {"live", "ramping"} for version in known):
        return {}
    phase = record.phase
    weights = phase.weights if phase else record.definition.split()
    drawn = [key for key in record.definition.split() if weights.get(key, 0) > 0]
    # One that was brought in from elsewhere says nothing of what is known here.
    counts = next((counted for each in reversed(known) if (counted := each.about.get("rows_by_variant"))), None)
    if counts is None:
        return {}
    least = allocation.update.min_rows_per_variant
    new = [key for key in drawn if counts.get(key, 0) < least]
    if not new:
        return {}
    taken = Fraction(allocation.explore) + sum((Fraction(share) for share in allocation.min_share.values()), Fraction())
    share = min(FORCED / len(drawn), (1 - taken) / len(new))
    return {key: f"{float(share):.6g}" for key in new} if share > 0 else {}
