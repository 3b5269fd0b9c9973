"""Bringing a database to the tables this program knows, safely also when two start at once.

Migrations are Alembic scripts in experiments/store/migrations/versions, shipped as modules of the package. Until the
first release there is only ``v0001_initial``, which is written from the metadata: after a change of a ``…_tables``
module run

    python -m experiments.store.regenerate

and start from an empty database. From the first release on, a change adds a script beside it (expand first, contract
in a later release) and this command goes away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.store.engine import Store, StoreError, without_password

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 425_271_296_897_098_022
"""PostgreSQL advisory lock that serialises migrations: first 63 bits of sha256 of "equipoise migrations"."""


def upgrade(store: Store) -> list[str]:
    """Create or upgrade the tables; return the migrations that were applied, oldest first.

    All of them run in one transaction, under the database's write lock (SQLite) or an advisory lock (PostgreSQL): when
    two processes start at once, one migrates, the other waits and finds nothing to do; a failure leaves no trace.

    Raises:
        StoreError: when the database cannot be reached or comes from a newer program.
    """
    try:
        with store.begin() as connection:
            if store.dialect == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            missing = _missing(connection)
            if missing:
                from alembic import command

                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            return missing
    except sa.exc.OperationalError as error:
        raise _unreachable(store, error) from error


def pending(store: Store) -> list[str]:
    """Return the migrations that the database lacks, oldest first; empty when it is current.

    Raises:
        StoreError: when the database cannot be reached or comes from a newer program.
    """
    try:
        with store.read() as connection:
            return _missing(connection)
    except sa.exc.OperationalError as error:
        raise _unreachable(store, error) from error


def is_empty(store: Store) -> bool:
    """Tell whether the database has no tables at all, ours or anybody's.

    Raises:
        StoreError: when the database cannot be reached.
    """
    try:
        with store.read() as connection:
            return not sa.inspect(connection).get_table_names()
    except sa.exc.OperationalError as error:
        raise _unreachable(store, error) from error


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _missing(connection: Connection) -> list[str]:
    if _is_current(connection):
        return []
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    known = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        return known
    if current not in known:
        raise StoreError(f"the database is at migration {current}, newer than this program knows: upgrade Equipoise")
    return known[known.index(current) + 1 :]


def _is_current(connection: Connection) -> bool:
    """Tell whether the database stands at the newest migration, without Alembic: loading it takes half a second."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    return list(found) == _heads()


def _heads() -> list[str]:
    """Return the migrations that no other one follows, read from the scripts' own ``revision`` lines."""
    texts = [path.read_text("utf-8") for path in sorted((MIGRATIONS / "versions").glob("v*.py"))]
    revisions, followed = (
        [match[1] for text in texts if (match := re.search(rf'^{name}\b[^=]*= "(\w+)"', text, re.MULTILINE))]
        for name in ("revision", "down_revision")
    )
    return [revision for revision in revisions if revision not in followed]


def _unreachable(store: Store, error: sa.exc.OperationalError) -> StoreError:
    shown = without_password(store.url)
    first_line = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    return StoreError(f"cannot use the database {shown}: {first_line}")
