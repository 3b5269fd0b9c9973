"""What follows an update, on the rows that it has read: broken variants out, a harmful ramp back, the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.keeping.records import ExperimentRecord
from experiments.learning.gating import gate_candidate, watch_ramp
from experiments.learning.guardrails import take_out_broken
from experiments.store import Store

if TYPE_CHECKING:
    from allocation.bandits.learning.settings import Settings
    from experiments.learning.rows import LearningRows


def afterwards(
    store: Store, record: ExperimentRecord, rows: LearningRows, settings: Settings, until: int
) -> Mapping[str, Any]:
    """Do what follows an update, and tell what happened as a job's result can say it.

    Args:
        store: where versions are kept; closed while the log is read for guardrails.
        record: the experiment.
        rows: matured decisions of all groups.
        settings: as the last version was learned.
        until: microseconds since 1970 UTC, up to which the log was read.
    """
    told: dict[str, Any] = {}
    if broken := take_out_broken(store, record, until):
        told["masked"] = list(broken)
    taken = watch_ramp(store, record, rows)
    if taken is not None:
        told["rolled_back"] = taken[0].version
    judged = gate_candidate(store, record, rows, settings)
    if judged is not None:
        version, verdict = judged
        told |= {"gated": version.version, "state": version.state, "reasons": list(verdict.reasons)}
    return told
