"""Files of jobs, kept in the database in parts: any host can run a job, any replica can give its result.

Written and read as streams: memory holds one part. A file is there completely or not at all, and one that is replaced
is read to its end as it was when reading began.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from experiments.atomic import replacing
from experiments.errors import InputError
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import job_files, job_parts, jobs
from experiments.store.targeting_tables import audiences

PART_BYTES = 1_000_000
ORPHANED_US = 86_400_000_000
"""How old bytes are that no file names, or files whose job never came, when they are removed."""


class FileMissingError(InputError):
    """A job has no such file, or not any more."""


@dataclass(frozen=True)
class JobFile:
    """A complete file."""

    job: str
    role: str
    """What it is to the job, such as ``list`` or ``result``."""
    content: str
    name: str
    """As people know it, such as ``winback.csv``."""
    media_type: str
    bytes: int
    sha256: str
    created_at: int


def save(
    store: Store, job: str, role: str, chunks: Iterable[bytes], *, name: str, media_type: str = "text/csv"
) -> JobFile:
    """Keep a file, in place of the one the job has in this role.

    Args:
        store: where to.
        job: id of the job, which need not be in the queue yet.
        role: what the file is to the job.
        chunks: its bytes, in pieces of any size.
        name: as people know it.
        media_type: for whoever gets it.
    """
    content, digest, size = secrets.token_hex(16), hashlib.sha256(), 0
    for number, part in enumerate(_parts(chunks)):
        digest.update(part)
        size += len(part)
        with store.begin() as connection:
            row = {"content": content, "number": number, "bytes": part, "created_at": database_now(connection)}
            connection.execute(job_parts.insert().values(row))
    with store.begin() as connection:
        at = database_now(connection)
        c = job_files.c
        connection.execute(sa.delete(job_files).where(c.job == job, c.role == role))
        # The parts of the file before stay for who reads them just now; cleaning removes them.
        kept = JobFile(job, role, content, name, media_type, size, digest.hexdigest(), at)
        connection.execute(job_files.insert().values(**kept.__dict__))
    return kept


def save_path(store: Store, job: str, role: str, path: Path, *, name: str, media_type: str = "text/csv") -> JobFile:
    """Keep a file of the disk."""
    with path.open("rb") as stream:
        return save(store, job, role, iter(lambda: stream.read(PART_BYTES), b""), name=name, media_type=media_type)


def find(store: Store, job: str, role: str) -> JobFile | None:
    """Return what is known of a file; ``None`` where there is none."""
    query = sa.select(job_files).where(job_files.c.job == job, job_files.c.role == role)
    with store.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else JobFile(**row)


def of_job(store: Store, job: str) -> list[JobFile]:
    """Return the files of a job."""
    query = sa.select(job_files).where(job_files.c.job == job).order_by(job_files.c.role)
    with store.read() as connection:
        return [JobFile(**row) for row in connection.execute(query).mappings()]


def read(store: Store, file: JobFile) -> Iterator[bytes]:
    """Yield the parts of a file, in order.

    Raises:
        FileMissingError: when its bytes are gone, or no longer those that were kept.
    """
    digest, number, size = hashlib.sha256(), 0, 0
    while size < file.bytes:
        query = sa.select(job_parts.c.bytes).where(job_parts.c.content == file.content, job_parts.c.number == number)
        with store.read() as connection:
            part = connection.execute(query).scalar()
        if part is None:
            raise FileMissingError(f"{file.name} of job {file.job} is no longer kept: ask for it anew")
        digest.update(part)
        size += len(part)
        number += 1
        yield bytes(part)
    if digest.hexdigest() != file.sha256:
        raise FileMissingError(f"{file.name} of job {file.job} does not have the checksum it was kept with")


def fetch(store: Store, file: JobFile, path: Path) -> None:
    """Write a file to the disk, completely or not at all.

    Raises:
        FileMissingError: when its bytes are gone, or no longer those that were kept.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(read(store, file))


def clean(store: Store, older_than_us: int) -> int:
    """Remove the files of jobs that ended before a time, and what no job and no file names; return how many files.

    Audience files stay as long as their audiences.

    Args:
        store: where they are kept.
        older_than_us: microseconds since 1970 UTC.
    """
    f, p, j = job_files.c, job_parts.c, jobs.c
    with store.begin() as connection:
        orphaned = database_now(connection) - ORPHANED_US
        over = sa.select(j.id).where(j.finished_at < older_than_us)
        known = sa.select(j.id)
        removed = connection.execute(
            sa.delete(job_files).where(
                sa.or_(f.job.in_(over), sa.and_(f.created_at < orphaned, f.job.not_in(known))),
                sa.or_(f.role != "result", f.job.not_in(sa.select(audiences.c.id))),
            )
        ).rowcount
        connection.execute(sa.delete(job_parts).where(p.created_at < orphaned, p.content.not_in(sa.select(f.content))))
        return int(removed)


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)
