"""A snapshot as bytes: canonical JSON out, and in again, refusing what this version does not understand.

The models are in `allocation.plan`, the compiled form in `allocation.compiled`; both are at hand here as well.
"""

from __future__ import annotations

import msgspec

from allocation.compiled import CompiledExperiment, CompiledSnapshot, PlanError, compile_experiment, compile_snapshot
from allocation.plan import (
    FEATURES,
    FORMAT,
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    KeyPlan,
    LayerPlan,
    PhasePlan,
    ProjectPlan,
    SecurityPlan,
    Snapshot,
    VariantPlan,
)

__all__ = [
    "FEATURES",
    "FORMAT",
    "AttributePlan",
    "CompiledExperiment",
    "CompiledSnapshot",
    "ExperimentPlan",
    "HoldoutPlan",
    "KeyPlan",
    "LayerPlan",
    "PhasePlan",
    "PlanError",
    "ProjectPlan",
    "SecurityPlan",
    "Snapshot",
    "SnapshotError",
    "VariantPlan",
    "compile_experiment",
    "compile_snapshot",
    "encode",
    "parse",
]

_OPEN = Snapshot("", 0).security


class SnapshotError(ValueError):
    """A document that is not a snapshot, or is one of a newer format; the message says which."""


class _Envelope(msgspec.Struct):
    """A snapshot whose experiments are still bytes, so that an unknown shape of one does not spoil the others."""

    version: str
    effective_at: int
    experiments: dict[str, msgspec.Raw] = {}
    excluded: dict[str, tuple[str, ...]] = {}
    format: int = FORMAT
    requires: tuple[str, ...] = ()
    project: ProjectPlan | None = None
    security: SecurityPlan = SecurityPlan()


class _Requirements(msgspec.Struct):
    requires: tuple[str, ...] = ()


_envelope = msgspec.json.Decoder(_Envelope)
_requirements = msgspec.json.Decoder(_Requirements)
_experiment = msgspec.json.Decoder(ExperimentPlan)


def encode(snapshot: Snapshot) -> bytes:
    """Return the canonical JSON of a snapshot: sorted keys, no spaces, defaults left out. Equal snapshots, equal bytes.

    >>> encode(Snapshot(version="v1", effective_at=0))
    b'{"effective_at":0,"version":"v1"}'
    >>> encode(parse(encode(Snapshot(version="v1", effective_at=0))))
    b'{"effective_at":0,"version":"v1"}'
    """
    # Defaults of a struct's type are left out only when they are the very same object.
    security = _OPEN if snapshot.security == _OPEN else snapshot.security
    return msgspec.json.encode(msgspec.structs.replace(snapshot, refused={}, security=security), order="sorted")


def parse(data: bytes) -> Snapshot:
    """Read a snapshot. Experiments that require an unknown feature are put into ``refused`` with the reason.

    Raises:
        SnapshotError: for bytes that are no snapshot, a broken experiment, or a newer format. Never half-loaded.

    >>> parse(b'{"effective_at":0,"version":"v1","experiments":{"x":{"requires":["tides"]}}}').refused
    {'x': 'needs "tides", which this version does not know; upgrade this node'}
    """
    where = ""
    try:
        envelope = _envelope.decode(data)
        if envelope.format > FORMAT:
            raise SnapshotError(
                f"the snapshot has format {envelope.format} and this version reads up to {FORMAT}; upgrade this node"
            )
        experiments, refused = {}, {}
        for key, raw in envelope.experiments.items():
            where = f" in experiment {key}"
            unknown = sorted({*envelope.requires, *_requirements.decode(raw).requires} - FEATURES)
            if unknown:
                names = ", ".join(f'"{name}"' for name in unknown)
                refused[key] = f"needs {names}, which this version does not know; upgrade this node"
            else:
                experiments[key] = _experiment.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SnapshotError(f"not a readable snapshot{where}: {error}") from None
    return Snapshot(
        version=envelope.version,
        effective_at=envelope.effective_at,
        experiments=experiments,
        excluded=envelope.excluded,
        format=envelope.format,
        requires=envelope.requires,
        project=envelope.project,
        security=envelope.security,
        refused=refused,
    )
