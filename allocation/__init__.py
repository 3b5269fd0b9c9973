"""Who gets what: hashing, audiences, layers, decisions. Pure: no I/O, no clock, no global randomness.

The names below are what other rooms use: ``allocation.decide(snapshot, …)``, ``allocation.sql(plan, "duckdb")``.
These two are functions; the modules of the same names are reached by ``from allocation.decide import …``.
"""

from allocation.compiled import CompiledExperiment, CompiledSnapshot, compile_snapshot
from allocation.decide import Step, UnknownExperimentError, decide, explain
from allocation.decision import REASONS, Decision, Enrolment, MemberState, OccasionError, decision_id
from allocation.hashing import UnitError, check_unit
from allocation.plan import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
)
from allocation.snapshot import SnapshotError, encode, parse
from allocation.sql import assignment_sql as sql

__all__ = [
    "REASONS",
    "AttributePlan",
    "CompiledExperiment",
    "CompiledSnapshot",
    "Decision",
    "Enrolment",
    "ExperimentPlan",
    "HoldoutPlan",
    "LayerPlan",
    "MemberState",
    "OccasionError",
    "PhasePlan",
    "Snapshot",
    "SnapshotError",
    "Step",
    "UnitError",
    "UnknownExperimentError",
    "VariantPlan",
    "check_unit",
    "compile_snapshot",
    "decide",
    "decision_id",
    "encode",
    "explain",
    "parse",
    "sql",
]
