"""What all tests share: the folder of real data, and stores on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli import THREADS
from tests import postgres, skips

if TYPE_CHECKING:
    from experiments.store import Store

for _name in THREADS:  # as the command line does, before numpy is loaded
    os.environ.setdefault(_name, "1")
ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """In continuous integration a skip is a failure."""
    skips.register(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left alone with one of them at the end."""

    def place(item: pytest.Item) -> int:
        if item.path.name == "test_docs.py":
            return 0
        return 1 if "system" in item.path.parts else 2

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder beside the repository with real data and reference values, which are never copied into it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: real data and reference values are checked only where it exists")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One real PostgreSQL server for each test process (pytest-xdist worker), stopped at the end."""
    try:
        with postgres.running_server() as server:
            yield server
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """Address of one PostgreSQL database that the whole test process shares."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a fresh, empty database: each test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'equipoise.sqlite'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    with server.fresh_database() as url:
        yield url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A fresh store with all tables, on SQLite and on PostgreSQL."""
    from experiments.store import open_store
    from experiments.store.migrate import upgrade

    opened = open_store(store_url)
    try:
        upgrade(opened)
        yield opened
    finally:
        opened.close()
