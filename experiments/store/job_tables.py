"""The tables of work done behind the answers: who may do it, what is to be done, the files it takes and gives.

Times are microseconds since 1970 UTC by the database's clock, so that hosts whose clocks differ agree.
"""

from __future__ import annotations

import sqlalchemy as sa

from experiments.store.metadata import KeyText, metadata

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", KeyText, primary_key=True),
    sa.Column("holder", KeyText, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
)
"""Who may do a kind of work now. ``token`` grows with each change of hands: a former holder can tell that it is one."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", KeyText, primary_key=True),
    sa.Column("kind", KeyText, nullable=False),
    sa.Column("experiment", KeyText),
    sa.Column("state", KeyText, nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", KeyText, nullable=False),
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("rows_done", sa.BigInteger, nullable=False),
    sa.Column("rows_total", sa.BigInteger),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("holder", KeyText),
    sa.Column("heartbeat_at", sa.BigInteger),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Index(None, "state", "not_before"),
)
"""What is to be done, is being done and was done. ``params`` and ``result`` are JSON objects; ``error`` is a line for
people, without ids of members."""

job_files = sa.Table(
    "job_files",
    metadata,
    sa.Column("job", KeyText, primary_key=True),
    sa.Column("role", KeyText, primary_key=True),
    sa.Column("content", KeyText, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("media_type", KeyText, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", KeyText, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""Complete files of jobs: what came in, what goes out. ``content`` names their parts."""

job_parts = sa.Table(
    "job_parts",
    metadata,
    sa.Column("content", KeyText, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""The bytes of files in parts of 1 MB, so that any host can run a job and any replica can give its result."""
