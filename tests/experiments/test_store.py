"""The store: migrations equal the metadata on both databases, safely; transactions behave."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.ddl.impl import DefaultImpl
from alembic.runtime.migration import MigrationContext
from click.testing import CliRunner, Result

from api.cli import cli
from experiments.sources.log import scanner
from experiments.store import Store, StoreError, open_store
from experiments.store.log_tables import conflicts, decisions
from experiments.store.metadata import all_tables
from experiments.store.migrate import MIGRATIONS, _config, _heads, pending, upgrade
from experiments.store.regenerate import initial_migration


def test_migrations_make_exactly_the_metadata(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, all_tables()) == []


def test_the_first_migration_is_what_the_metadata_would_write() -> None:
    """compare_metadata does not see collations and check constraints: the text does."""
    written = (MIGRATIONS / "versions" / "v0001_initial.py").read_text()
    assert _tokens(written) == _tokens(initial_migration()), "run `python -m experiments.store.regenerate`"


def _tokens(source: str) -> str:
    return "".join(source.split()).replace("'", '"').replace(",)", ")")


def test_keys_are_compared_by_bytes(store: Store) -> None:
    units = ["a", "B", "é", "Z", "z", "中", "10", "9"]
    row = dict.fromkeys(conflicts.c.keys(), "") | {"phase": 1, "at": 0}
    with store.begin() as connection:
        connection.execute(conflicts.insert(), [row | {"decision_id": unit, "unit": unit} for unit in units])
    with store.read() as connection:
        stored = [r.unit for r in connection.execute(sa.select(conflicts.c.unit).order_by(conflicts.c.unit))]
    assert stored == sorted(units, key=str.encode)


def test_the_newest_migration_is_known_without_alembic() -> None:
    from alembic.script import ScriptDirectory

    assert _heads() == ScriptDirectory.from_config(_config()).get_heads()
    # A command that only looks must not pay for loading it (half a second).
    code = (
        "import sys, experiments.store.migrate as m; from experiments.store import open_store; "
        "store = open_store('sqlite:///' + sys.argv[1]); m.pending(store); print('alembic' in sys.modules)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/equipoise.sqlite"
        upgrade(open_store(f"sqlite:///{path}"))
        found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_pending_and_upgrade(store_url: str) -> None:
    store = open_store(store_url)
    assert pending(store) == ["0001"]
    assert upgrade(store) == ["0001"]
    assert pending(store) == []
    assert upgrade(store) == []
    store.close()


def test_many_may_migrate_at_once(store_url: str) -> None:
    """Eight threads with connections of their own: one applies, seven find nothing to do."""
    applied: list[list[str]] = []
    gate = threading.Barrier(8)

    def migrate() -> None:
        store = open_store(store_url)
        gate.wait()
        applied.append(upgrade(store))
        store.close()

    threads = [threading.Thread(target=migrate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied, key=len) == [[]] * 7 + [["0001"]]


def test_a_newer_database_is_refused(store: Store) -> None:
    with store.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer than this program"):
        upgrade(store)


def test_a_failed_migration_leaves_no_trace(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(store_url)
    made = DefaultImpl.create_table
    calls: list[str] = []

    def create_three(self: DefaultImpl, table: sa.Table, **options: object) -> None:
        calls.append(table.name)
        if len(calls) > 3:
            raise RuntimeError("the power went")
        made(self, table, **options)

    monkeypatch.setattr(DefaultImpl, "create_table", create_three)
    with pytest.raises(RuntimeError, match="the power went"):
        upgrade(store)
    monkeypatch.undo()
    with store.read() as connection:
        assert sa.inspect(connection).get_table_names() == []
    store.close()


def test_reading_waits_for_no_writer_and_sees_one_state(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(decisions)
    row = dict.fromkeys(decisions.c.keys(), "") | {
        "revision": 1,
        "phase": 1,
        "at": 0,
        "propensity": 0.5,
        "send_at": None,
    }
    with store.read() as reader:
        assert reader.execute(count).scalar_one() == 0
        with store.begin() as writer:
            writer.execute(decisions.insert(), row)
        assert reader.execute(count).scalar_one() == 0
    with store.read() as reader:
        assert reader.execute(count).scalar_one() == 1


def test_twenty_read_then_write_transactions_lose_nothing(store: Store) -> None:
    """The case that SQLite refuses at once when a transaction begins as a reader and another one wrote meanwhile."""
    with store.begin() as connection:
        connection.execute(sa.text("CREATE TABLE counter (n BIGINT)"))
        connection.execute(sa.text("INSERT INTO counter VALUES (0)"))

    def add() -> None:
        with store.begin() as connection:
            lock = " FOR UPDATE" if store.dialect == "postgresql" else ""
            n = connection.execute(sa.text(f"SELECT n FROM counter{lock}")).scalar_one()
            connection.execute(sa.text("UPDATE counter SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=add) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT n FROM counter")).scalar_one() == 20


def test_sqlite_is_opened_durably(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'new' / 'folder' / 'eq.sqlite'}")
    with store.read() as connection:
        pragmas = {p: connection.execute(sa.text(f"PRAGMA {p}")).scalar() for p in _PRAGMAS}
    assert pragmas == _PRAGMAS
    store.close()


def test_a_store_that_let_go_survives_another_sqlite_in_its_process(tmp_path: Path) -> None:
    """DuckDB's scanner drops this process's locks on the file; a commit must still be where others see it."""
    file = tmp_path / "eq.sqlite"
    store = open_store(f"sqlite:///{file}")
    with store.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER)"))
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    store.close()
    with scanning(file) as scanned:
        assert scanned.execute("SELECT n FROM other.t").fetchall() == [(1,)]
    look = f"import sqlite3; print(sqlite3.connect({str(file)!r}).execute('SELECT count(*) FROM t').fetchone()[0])"
    for expected in (1, 2, 3):
        shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
        assert int(shown.stdout) == expected
        with store.begin() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (2)"))
    store.close()


@contextlib.contextmanager
def scanning(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"home_directory": str(file.parent)}) as connection:
        connection.execute(f"LOAD '{scanner('sqlite_scanner')}'")
        connection.execute(f"ATTACH '{file}' AS other (TYPE sqlite, READ_ONLY)")
        yield connection


_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not an address"),
        ("mysql://u:secret@h/x", r"mysql://u:\*\*\*@h/x.* is neither"),
        ("sqlite://", "needs a file"),
        ("sqlite:////proc/none/eq.sqlite", "cannot create folder"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "cannot use the database"),
    ],
)
def test_bad_addresses_get_one_clear_line(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        upgrade(open_store(url))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_command(store_url: str, tmp_path: Path) -> None:
    def run(*arguments: str, database: str = store_url) -> Result:
        return CliRunner().invoke(cli, ["--data", str(tmp_path), "--database", database, "migrate", *arguments])

    before = run("--check")
    assert (before.exit_code, before.stdout) == (1, "1 pending: 0001\n")
    assert run().stdout == "Applied 0001.\n"
    assert run().stdout == "The database is current.\n"
    assert run("--check").exit_code == 0
    wrong = run(database="oracle://x")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.count("\n") == 1
