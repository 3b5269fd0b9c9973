"""The same as a job does, on this machine and at once: ``equipoise assign --log``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from experiments import atomic
from experiments.assignments.assigning import Tally
from experiments.assignments.carry_out import Progress, assign_list
from experiments.assignments.request import ListRequest, read_request
from experiments.errors import InputError
from experiments.list_files import format_of
from experiments.settings import Settings
from experiments.store import Store


def assign_and_log(
    store: Store,
    settings: Settings,
    experiment: str,
    path: Path,
    output: Path,
    given: dict[str, str],
    progress: Progress = lambda rows_done, rows_total: None,  # noqa: ARG005 - nobody listens
) -> tuple[ListRequest, Tally]:
    """Assign a file of members, record it, and write the answers; the same file again gives the same answers.

    Args:
        store: definitions and log.
        settings: where this host has its snapshots.
        experiment: its key.
        path: the list.
        output: ``.csv`` or ``.parquet``; written whole or not at all.
        given: parameters as text, see `read_request`; ``format`` follows from ``output``.
        progress: told how many rows are done, and of how many.

    Raises:
        InputError: when the list, a parameter or the experiment cannot be used.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    atomic.spare(output, "--output", list=path)
    file_format = format_of(output)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    request = read_request(experiment, digest, {**given, "format": file_format})
    try:
        with atomic.replacing(output) as temporary:
            _, tally = assign_list(store, settings, request, path, str(path), temporary, progress)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror}") from error
    return request, tally
