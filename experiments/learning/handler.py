"""The job that learns: one update of one experiment's policy, done again as if for the first time after a kill."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.errors import InputError
from experiments.jobs.handlers import Progress, StoppedError
from experiments.jobs.queue import Job
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.learning import cadence, versions
from experiments.learning.declared import Declared, declared
from experiments.learning.gating import gate_candidate, watch_ramp
from experiments.learning.guardrails import take_out_broken
from experiments.learning.plan import masked
from experiments.learning.reading import read_rows
from experiments.learning.rows import LearningRows
from experiments.learning.updating import Learned, Stands, keep, learn, settings_of, together
from experiments.measure.days import DAY_US
from experiments.settings import Settings
from experiments.sources.log import open_log
from experiments.store import Store
from experiments.store.clock import database_now

OVER = frozenset({"ended", "decided"})


@dataclass(frozen=True, eq=False)
class Known:
    """What the log told for an update."""

    declared: Declared
    rows: LearningRows
    warm: LearningRows | None
    """Of the finished experiment that is learned from too."""
    not_warm: str | None = None
    """Why it is not learned from, though declared."""


def update(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    """Make and keep a new version of an experiment's policy, where there is enough to learn from, and judge it.

    What may do harm is looked at first: a variant that breaks a guardrail is taken out, a version that is being ramped
    up and earns less than the live one is taken back. Until the new version is in the database, with its file, in one
    transaction, nothing of it is there: a process that is killed before that leaves nothing, and the job begins anew.
    One that is killed afterwards finds its version, and has it judged.

    Args:
        store: definitions and log; in a process of its own, see ``Store.close``.
        settings: of the deployment.
        job: with ``force`` among its params where somebody asks for a version whatever is new.
        progress: told how many decisions were read.
        stop: set when the job is to end.

    Returns:
        ``version`` and its ``state``, or ``None`` and ``why``; how many decisions were read and learned from.
    """
    del settings  # everything is in the database
    record = Repository(store).experiment(job.experiment or "")
    if record.definition.allocation is None:
        raise InputError(f"experiment {record.key} has no policy that learns: it has no allocation")
    if record.state not in cadence.STATES:
        return {"version": None, "why": "not_running", "state": record.state}
    with store.read() as connection:
        until = database_now(connection)
    taken_out = take_out_broken(store, record, until)
    known = read(store, record, until)
    progress(known.rows.n, None)
    taken_back = watch_ramp(store, record, known.rows)
    # One that was brought in, or had to wait for a ramp, is judged before a later one takes its place.
    made_with = settings_of(known.declared, together(known.rows, known.declared, known.warm))
    gate_candidate(store, record, known.rows, made_with, warm=known.warm)
    with store.read() as connection:
        stands = Stands(tuple(versions.read(connection, record.key)), masked(connection, record.key))
    told: dict[str, Any] = {
        "read": known.rows.n,
        "immature": known.rows.immature,
        "outcomes": known.rows.outcomes,
        "overlaps": known.rows.overlaps,
        "left_out": dict(known.rows.left_out),
        "not_warm": known.not_warm,
        "taken_out": list(taken_out),
        "taken_back": None if taken_back is None else taken_back[0].version,
    }
    number = next((each.version for each in stands.known if each.about.get("job") == job.id), None)
    why: str | None = None
    if number is None:
        force = bool(job.params.get("force", False))
        learned = learn(known.rows, known.declared, stands, until, warm=known.warm, force=force)
        if stop.is_set():
            raise StoppedError
        if learned.new is None:
            why, told = learned.why, {**learned.detail, **told}
        else:
            about = {**learned.new.about, "job": job.id}
            number = _keep(store, replace(learned, new=replace(learned.new, about=about)), job.created_by)
            why = "another_was_made" if number is None else None
            told["learned_from"] = learned.new.rows
    gate_candidate(store, record, known.rows, made_with, warm=known.warm)
    with store.read() as connection:
        state = None if number is None else versions.one(connection, record.key, number).state
    return {"version": number, "state": state, "why": why, **told}


def _keep(store: Store, learned: Learned, actor: str) -> int | None:
    """Keep a version in one transaction; ``None`` where another one was made meanwhile."""
    with store.begin() as connection:
        return keep(connection, learned, actor)


def read(store: Store, record: ExperimentRecord, until: int) -> Known:
    """Read what an update learns from: decisions of the last ``window_days``, and those of the earlier experiment.

    Args:
        store: closed meanwhile, see ``Store.close``.
        record: the experiment.
        until: microseconds since 1970 UTC; nothing later is read.
    """
    repository = Repository(store)
    about = declared(repository, record)
    allocation = about.allocation
    assert allocation is not None  # noqa: S101 - asked before
    since = until - round(allocation.update.window_days * DAY_US)
    earlier, why = None, None
    if allocation.warm_start is not None:
        found = repository.experiment(allocation.warm_start)
        if found.state in OVER:
            earlier = declared(repository, found, like=about)
        else:
            why = f"{found.key} is {found.state}: it is learned from when it has ended"
    store.close()
    with open_log(store.url) as log:
        rows = read_rows(log, about, until, since=since)
        warm = None if earlier is None else read_rows(log, earlier, until, since=since)
    return Known(about, rows, warm, why)
