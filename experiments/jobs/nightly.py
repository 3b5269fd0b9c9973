"""The night's export as a job: one for each night, whoever asks and however often."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from experiments.jobs import queue
from experiments.store.clock import database_now


def last_time(now: datetime, hour: int) -> datetime:
    """Return when it was last that hour of the clock, in the time zone of ``now``.

    An hour that a change to summer time skips is the one after it.

    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> last_time(datetime(2026, 3, 29, 1, 59, tzinfo=berlin), 2).isoformat()
    '2026-03-28T02:00:00+01:00'
    >>> last_time(datetime(2026, 3, 29, 3, 0, tzinfo=berlin), 2).date().isoformat()
    '2026-03-29'
    """
    zone = now.tzinfo
    today = datetime.combine(now.date(), time(hour), zone)
    # Compared as moments: on the days of a change the wall's clock misleads.
    if today.timestamp() <= now.timestamp():
        return today
    return datetime.combine(now.date() - timedelta(days=1), time(hour), zone)


def ask_for_export(connection: Connection, time_zone: str, hour: int, *, now: int | None = None) -> tuple[str, bool]:
    """Put the export of the last night into the queue, unless it is there; return the job's id and whether it is new.

    Args:
        connection: inside ``store.begin()``.
        time_zone: of the project, an IANA name.
        hour: of the clock, when the night's export is due.
        now: microseconds since 1970 UTC; by default the database's.
    """
    at = database_now(connection) if now is None else now
    night = last_time(datetime.fromtimestamp(at / 1e6, ZoneInfo(time_zone)), hour)
    job, new = queue.enqueue(connection, f"export-{night.date().isoformat()}", "export", {}, created_by="schedule")
    return job.id, new
