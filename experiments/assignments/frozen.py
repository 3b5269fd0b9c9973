"""What a list is decided with, kept beside the job when it begins: a second attempt decides with the very same."""

from __future__ import annotations

import msgspec

from allocation.compiled import CompiledExperiment, CompiledSnapshot, compile_snapshot
from allocation.plan import Snapshot
from allocation.snapshot import encode, parse
from experiments.assignments.request import PLAN, ListRequest
from experiments.assignments.running import check_running
from experiments.errors import InputError
from experiments.jobs import files
from experiments.publishing.policy_files import of_store
from experiments.store import Store


class Frozen(msgspec.Struct, frozen=True):
    """The snapshot of one experiment and the moment of deciding."""

    snapshot: CompiledSnapshot
    compiled: CompiledExperiment
    at: int
    """When everybody on the list is decided, microseconds since 1970 UTC."""
    allow_personal_ids: bool
    again: bool
    """An earlier attempt began already."""


def freeze(store: Store, request: ListRequest, current: CompiledSnapshot, now: int) -> Frozen:
    """Return what a list is decided with: as the first attempt kept it, else kept now.

    Args:
        store: where jobs keep their files.
        request: what is asked for.
        current: the snapshot that decides now.
        now: microseconds since 1970 UTC.

    Raises:
        InputError: when the experiment is unknown or gives nobody anything.
    """
    kept = files.find(store, request.job_id, PLAN)
    if kept is not None:
        return _opened(store, parse(b"".join(files.read(store, kept))), request.experiment, again=True)
    found = current.experiments.get(request.experiment)
    if found is None:
        why = current.refused.get(request.experiment, "it is not published")
        raise InputError(f"the experiment {request.experiment} cannot be decided: {why}")
    check_running(found, now)
    source = current.source
    snapshot = Snapshot(
        version=current.version,
        effective_at=now,
        experiments={found.key: found.plan},
        excluded={found.unit_type: source.excluded.get(found.unit_type, ())},
        requires=source.requires,
        project=source.project,
    )
    files.save(store, request.job_id, PLAN, [encode(snapshot)], name="plan.json", media_type="application/json")
    return _opened(store, snapshot, found.key, again=False)


def _opened(store: Store, snapshot: Snapshot, key: str, *, again: bool) -> Frozen:
    compiled = compile_snapshot(snapshot, of_store(store))
    if key not in compiled.experiments:
        raise InputError(f"the experiment {key} cannot be decided here: {compiled.refused.get(key, 'it is not kept')}")
    project = snapshot.project
    allowed = project is not None and project.allow_personal_ids
    return Frozen(compiled, compiled.experiments[key], snapshot.effective_at, allowed, again)
