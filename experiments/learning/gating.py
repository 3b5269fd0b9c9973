"""Running the gate on the store: read what it needs, judge, and move the version where the verdict sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.keeping import audit
from experiments.keeping.records import ExperimentRecord
from experiments.learning import ramping, versions
from experiments.learning.approving import must_wait
from experiments.learning.as_drawn import Floors
from experiments.learning.gate import Case, Verdict, cross_fitted, judge, versions_beside
from experiments.learning.plan import bandit_plan
from experiments.learning.telling import GATE, tell
from experiments.learning.versions import Version
from experiments.store import Store
from experiments.store.clock import database_now
from stats.ope.safety import Safety, difference_of_groups

if TYPE_CHECKING:
    from allocation.bandits.learning.settings import Settings
    from experiments.learning.rows import LearningRows

UNWEIGHED = ("no_propensity", "propensity_differs")
"""Decisions that cannot be weighed, by why they are left out of the rows."""


def gate_candidate(
    store: Store,
    record: ExperimentRecord,
    rows: LearningRows,
    settings: Settings,
    now: int | None = None,
    *,
    warm: LearningRows | None = None,
) -> tuple[Version, Verdict] | None:
    """Judge the version that was made last, and let it go where the verdict sends it.

    One that passes begins its ramp, or waits for approval; one that does not is blocked. Nothing is done where no
    version is a candidate, or another one is being ramped up: it is judged when that is done, on what is known then.
    Publishing is separate.

    Args:
        store: where versions are kept.
        record: the experiment.
        rows: matured decisions of all groups.
        settings: as the version was learned.
        now: microseconds since 1970 UTC; by default the database's.
        warm: those of the finished experiment that is learned from too: as long as nothing is live and the experiment
            has fewer decisions of its own, the version is judged on them.

    Returns:
        The version as it stands then, and what the gate found; ``None`` where there was nothing to judge.
    """
    allocation = record.definition.allocation
    if allocation is None:
        return None
    mine = rows.take(np.isin(rows.group, ("policy", "uniform")))
    with store.read() as connection:
        known = versions.read(connection, record.key)
        candidate = versions.standing(known, "candidate")
        if candidate is None or versions.standing(known, "ramping") is not None:
            return None
        live = versions.standing(known, "live")
        if live is None and warm is not None and mine.n < warm.n:
            mine = as_own(warm, rows)
        plan = bandit_plan(connection, record)
        assert plan is not None  # noqa: S101 - an experiment with an allocation has one
        numbers = {version.version: version.sha256 for version in known}
        drew = {int(number) for number in np.unique(versions_beside(mine))} & numbers.keys()
        logged = {number: versions.policy(connection, numbers[number]) for number in sorted(drew)}
        new = versions.policy(connection, candidate.sha256)
        current = None if live is None else versions.policy(connection, live.sha256)
    weights = record.phase.weights if record.phase else record.definition.split()
    case = Case(
        rows=mine,
        new=new,
        live=current,
        live_version=live.version if live else 0,
        live_until=live.data_until if live else None,
        logged=logged,
        floors=Floors.of(plan, {key: weights.get(key, 0) for key in rows.variants}),
        expected=cross_fitted(mine, settings),
        features={feature.attribute: feature.kind for feature in settings.features},
        half_life_days=settings.half_life_days,
        without_probability=sum(rows.left_out.get(why, 0) for why in UNWEIGHED),
    )
    verdict = judge(case, allocation.gate)
    with store.begin() as connection:
        audit.lock(connection)
        at = database_now(connection) if now is None else now
        if versions.one(connection, record.key, candidate.version).state != "candidate":
            return None  # somebody was quicker: approved or rejected it, or made a later one
        told = {"version": candidate.version, "compared_with": verdict.compared_with}
        if not verdict.passed:
            moved = versions.move(connection, record.key, candidate.version, "blocked", gate=verdict.document(), now=at)
            told["reasons"] = list(verdict.reasons)  # type: ignore[assignment]
            tell(connection, "policy_blocked", record.key, told, actor=GATE, now=at, reason=verdict.text)
            return moved, verdict
        moved = versions.move(connection, record.key, candidate.version, "waiting", gate=verdict.document(), now=at)
        if must_wait(connection, record.key, allocation):
            tell(connection, "policy_waiting", record.key, told, actor=GATE, now=at)
            return moved, verdict
        tell(connection, "policy_passed", record.key, told, actor=GATE, now=at)
        return ramping.begin(connection, record.key, candidate.version, allocation.gate, actor=GATE, now=at), verdict


def as_own(warm: LearningRows, own: LearningRows) -> LearningRows:
    """Return the decisions of a finished experiment as if they were this one's: its variants and costs of contact.

    Decisions for variants that this one lacks are left out, and the others' probabilities are those given that.
    """
    place = [own.variants.index(key) if key in own.variants else -1 for key in warm.variants]
    kept = warm.take((np.array(place)[warm.variant] >= 0) & (warm.group != "uniform"))
    p, eligible = np.zeros((kept.n, len(own.variants))), np.zeros((kept.n, len(own.variants)), dtype=np.bool_)
    for theirs, mine in enumerate(place):
        if mine >= 0:
            p[:, mine], eligible[:, mine] = kept.p[:, theirs], kept.eligible[:, theirs]
    p /= p.sum(axis=1, keepdims=True)
    variant = np.array(place, dtype=np.intp)[kept.variant]
    missing = np.full(kept.n, None, dtype=object)
    return replace(
        kept,
        variants=own.variants,
        variant=variant,
        p=p,
        eligible=eligible,
        propensity=p[np.arange(kept.n), variant],
        contact=own.contact,
        columns={name: kept.columns.get(name, missing) for name in own.columns},
        group=np.full(kept.n, "policy", dtype=object),
        version=np.zeros(kept.n, dtype=np.int64),
    )


def watch_ramp(
    store: Store, record: ExperimentRecord, rows: LearningRows, now: int | None = None
) -> tuple[Version, Safety] | None:
    """Take back a version that is being ramped up when its members earn less than the live version's, beyond chance.

    The hash chose who its members are, so that their rewards are compared as they are, from its first decision on.

    Args:
        store: where versions are kept.
        record: the experiment.
        rows: matured decisions.
        now: microseconds since 1970 UTC; by default the database's.

    Returns:
        The version that was taken back, and the comparison; ``None`` where nothing was.
    """
    allocation = record.definition.allocation
    with store.read() as connection:
        known = versions.read(connection, record.key)
    rising, live = versions.standing(known, "ramping"), versions.standing(known, "live")
    if allocation is None or rising is None:
        return None
    theirs = rows.group == "policy"
    mine = theirs & (rows.version == rising.version)
    if int(mine.sum()) < allocation.gate.min_effective_sample:
        return None
    since = int(rows.at[mine].min())
    beside = theirs & (rows.version == (live.version if live else 0)) & (rows.at >= since)
    chosen = rows.take(mine | beside)
    found = difference_of_groups(chosen.reward, chosen.version == rising.version, chosen.unit, allocation.gate.alpha)
    if not found.harmful:
        return None
    with store.begin() as connection:
        audit.lock(connection)
        at = database_now(connection) if now is None else now
        if versions.one(connection, record.key, rising.version).state != "ramping":
            return None
        moved = versions.move(connection, record.key, rising.version, "rolled_back", now=at)
        detail = {"versions": [rising.version], "to": live.version if live else 0}
        words = "its members earned less than the live version's, beyond chance"
        tell(connection, "policy_rolled_back", record.key, detail, actor=GATE, now=at, reason=words)
    return moved, found
