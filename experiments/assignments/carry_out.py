"""Doing an assignment job: the list out of the store, everybody assigned, the file into the store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.assignments import balancing
from experiments.assignments.assigning import Assigner, Tally
from experiments.assignments.balancing import Balanced
from experiments.assignments.frozen import Frozen, freeze
from experiments.assignments.listed import MemberList, open_list
from experiments.assignments.request import EPOCH, LIST, RESULT, ListRequest
from experiments.assignments.states import ListStates
from experiments.assignments.written import offers_given, writing
from experiments.errors import InputError
from experiments.jobs import files
from experiments.keeping.repository import Repository
from experiments.list_files import FORMATS
from experiments.publishing.snapshot_file import SnapshotFile
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.clock import database_now

Progress = Callable[[int, int], None]


def carry_out(store: Store, settings: Settings, request: ListRequest, progress: Progress) -> dict[str, Any]:
    """Do what was asked for with an uploaded list; may be begun anew at any time, with the same outcome.

    Args:
        store: definitions, log and files.
        settings: where this host has its snapshots.
        request: what is asked for.
        progress: told how many rows are done, and of how many; may raise to stop.

    Returns:
        The job's result: when, with what, how many, and the file's name, size and checksum.

    Raises:
        InputError: when the list or the experiment cannot be used.
        SnapshotMissingError: when this host has no snapshot yet.
    """
    uploaded = files.find(store, request.job_id, LIST)
    if uploaded is None:
        raise InputError("the list is no longer kept; send it again")
    with tempfile.TemporaryDirectory(prefix="equipoise-list-", ignore_cleanup_errors=True) as scratch:
        source, target = Path(scratch) / "list", Path(scratch) / "result"
        files.fetch(store, uploaded, source)
        frozen, tally = assign_list(store, settings, request, source, "the list", target, progress)
        kept = files.save_path(
            store, request.job_id, RESULT, target, name=request.file_name, media_type=FORMATS[request.format]
        )
    return {
        "at": moment_text(frozen.at),
        "snapshot": frozen.snapshot.version,
        **tally.to_dict(),
        "file": {"name": kept.name, "media_type": kept.media_type, "bytes": kept.bytes, "sha256": kept.sha256},
    }


def assign_list(
    store: Store,
    settings: Settings,
    request: ListRequest,
    source: Path,
    name: str,
    target: Path,
    progress: Progress,
) -> tuple[Frozen, Tally]:
    """Assign and record a list that lies on the disk; see `carry_out`.

    Args:
        store: definitions, log and files.
        settings: where this host has its snapshots.
        request: what is asked for.
        source: the list.
        name: what messages call it.
        target: the file to write.
        progress: told how many rows are done, and of how many; may raise to stop.
    """
    with store.read() as connection:
        now = database_now(connection)
    frozen = freeze(store, request, SnapshotFile(settings.snapshot_dir).load(now), now)
    offers = offers_given(frozen.compiled.plan)
    opened = open_list(source, name, frozen.compiled, unit_column=request.unit_column, encoding=request.encoding)
    with opened as members:
        states = ListStates(settings.snapshot_dir, frozen.compiled, frozen.at)
        with contextlib.closing(states), writing(target, request.format, offers) as write:
            balanced = _balanced(store, request, frozen, states, members, progress)
            tally = Assigner(store, request, frozen, states, balanced=balanced).run(members, write, progress)
    return frozen, tally


def _balanced(
    store: Store,
    request: ListRequest,
    frozen: Frozen,
    states: ListStates,
    members: MemberList,
    progress: Progress,
) -> Balanced | None:
    """Return where strata are cut, as an earlier attempt kept it or found now; ``None`` where nothing is balanced."""
    if not request.balance_on:
        return None
    kept = balancing.kept(store, request)
    if kept is not None:
        return kept
    balancing.check(request, frozen.compiled, Repository(store).experiment(request.experiment).definition)
    # From the states that decide: with newer ones, others might be on the list than those who were counted.
    draws = Assigner(store, request, frozen, states).draws(members)
    found = balancing.split(request, frozen.compiled, draws, lambda: progress(0, members.rows))
    states.forget()  # what the draw would have given to units with several ids; the split may give them another
    balancing.keep(store, request, found)
    return found


def moment_text(at_us: int) -> str:
    """Return a moment as ISO 8601 UTC text, to the microsecond.

    >>> moment_text(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    moment: datetime = EPOCH.astimezone(UTC) + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
