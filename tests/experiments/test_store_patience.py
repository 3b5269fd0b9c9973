"""A PostgreSQL server that hangs, is slow, or holds a lock: requests give up in time, and no message tells secrets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from experiments.errors import InputError
from experiments.sources.log import open_log
from experiments.store import REQUEST, WORK, Patience, StoreError, failure, open_store, without_password
from experiments.store.log_tables import members
from experiments.store.migrate import upgrade
from experiments.store.postgres import PING_S

SLEEP = sa.text("SELECT pg_sleep(30)")
SHORT = Patience(connect_s=2, lock_s=0.3, statement_s=0.6)
BETWEEN_S = 12.0
"""Far below the 30 s that the statements would take, far above every limit: a busy machine does not fail the test."""


class Wire:
    """A TCP address in front of the server's socket that can stop carrying anything, as a frozen machine does."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.open = threading.Event()
        self.open.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                self.open.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listening.close()
        self.open.set()


@pytest.fixture
def wire(postgres_url: str) -> Iterator[tuple[Wire, str]]:
    url = make_url(postgres_url)
    carried = Wire(f"{url.query['host']}/.s.PGSQL.5432")
    yield carried, f"postgresql://{url.username}@127.0.0.1:{carried.port}/{url.database}?sslmode=disable"
    carried.close()


@pytest.mark.postgres
def test_a_frozen_server_fails_a_request_in_seconds_and_is_used_again_afterwards(wire: tuple[Wire, str]) -> None:
    frozen, url = wire
    store = open_store(url, REQUEST)
    with store.read() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "8s"
        assert connection.scalar(sa.text("SHOW lock_timeout")) == "4s"
    frozen.open.clear()
    for limit_s in (PING_S + REQUEST.connect_s, REQUEST.connect_s):
        began = time.monotonic()
        with pytest.raises(sa.exc.OperationalError), store.read() as connection:
            connection.scalar(sa.text("SELECT 1"))
        assert time.monotonic() - began < limit_s + 3
    frozen.open.set()
    with store.read() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    store.close()


@pytest.mark.postgres
def test_a_server_that_freezes_in_the_middle_of_a_statement(wire: tuple[Wire, str]) -> None:
    frozen, url = wire
    store = open_store(url, SHORT)
    began = time.monotonic()
    with store.read() as connection:
        connection.scalar(sa.text("SELECT 1"))
        frozen.open.clear()
        with pytest.raises(sa.exc.OperationalError, match="the server has not answered for 3 s"):
            connection.scalar(SLEEP)
    assert time.monotonic() - began < BETWEEN_S
    frozen.open.set()
    store.close()


@pytest.mark.postgres
def test_slow_statements_and_locks_end_a_request_but_not_work(postgres_url: str) -> None:
    store, patient = open_store(postgres_url, SHORT), open_store(postgres_url, WORK)
    began = time.monotonic()
    with pytest.raises(sa.exc.OperationalError, match="statement timeout"), store.read() as connection:
        connection.execute(SLEEP)
    with patient.begin() as holder:
        holder.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"), store.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
    assert time.monotonic() - began < BETWEEN_S
    with patient.read() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
        assert connection.scalar(sa.text("SELECT 1 FROM pg_sleep(1.5)")) == 1
    for each in (store, patient):
        each.close()


def test_no_error_holds_the_values_of_a_row(store_url: str) -> None:
    store = open_store(store_url)
    upgrade(store)
    row = {"unit_type": "member", "unit": "secret-7", "attributes": "{}", "opted_out": False, "updated_at": 0}
    row |= {"stated_at": "{}"}
    with store.begin() as connection:
        connection.execute(sa.insert(members), [row])
    with store.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="parameters hidden") as caught:
        connection.execute(sa.insert(members), [row])
    assert "secret-7" not in failure(caught.value)
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//eq:s3cret@db/eq",
        "eq:s3cret@db/eq",
        "postgresql://eq:s3cret@db:five/eq",
        "mysql://eq:s3cret@db/eq",
        "mysql://db/eq?password=s3cret",
        "postgresql//eq:s3c/ret@db/eq",
    ],
)
def test_a_wrong_address_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    for part in ("s3cret", "s3c", "ret@"):
        assert part not in str(caught.value)


def test_a_database_that_refuses_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://eq:s3cret@127.0.0.1:1/eq?application_name=x"
    store = open_store(url)
    assert "s3cret" not in repr(store)
    with pytest.raises(StoreError, match=r"postgresql\+psycopg://eq:\*\*\*@127\.0\.0\.1:1/eq") as caught:
        upgrade(store)
    with pytest.raises(InputError, match="cannot be read") as analysing, open_log(store.url):
        pass
    for message in (str(caught.value), failure(caught.value), str(analysing.value)):
        assert "s3cret" not in message
        assert "refused" in message


def test_text_without_an_address_stays_as_it_is() -> None:
    text = "sqlite:////srv/a@b/eq.sqlite: disk I/O error at 10:30"
    assert without_password(text) == text
