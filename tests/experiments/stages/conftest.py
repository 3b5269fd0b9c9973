"""A store for tests that ask nothing of the database that the others do not ask of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A fresh store on SQLite."""
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment in a folder of its own."""
    return Settings(tmp_path / "data", f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
