"""The store's side of a node, for everything that is not a hot path: definitions, reports, explanations."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from experiments.keeping.repository import Repository
from experiments.settings import Settings
from experiments.store import REQUEST, WORK, Store, StoreError, open_store

if TYPE_CHECKING:
    from api.node.state import Node


class Services:
    """Opens the store once; everything else is made of it on demand."""

    def __init__(self, settings: Settings, node: Node | None = None) -> None:
        self.settings = settings
        self.node = node

    @property
    def store(self) -> Store:
        """The database, for what somebody waits for; connections are made when they are needed.

        Raises:
            StoreError: at once, while the database is known not to answer: nobody shall wait to hear that again.
        """
        self._refuse_while_silent()
        return self._store

    @property
    def patient_store(self) -> Store:
        """The database, for what may rightly take long, such as sealing the enrolled of an experiment.

        Raises:
            StoreError: as ``store``.
        """
        self._refuse_while_silent()
        return self._patient_store

    @functools.cached_property
    def _store(self) -> Store:
        return open_store(self.settings.database_url, REQUEST)

    @functools.cached_property
    def _patient_store(self) -> Store:
        return open_store(self.settings.database_url, WORK)

    def _refuse_while_silent(self) -> None:
        if self.node is not None and self.node.upkeep.database_state.silent():
            raise StoreError("the database does not answer")

    def repository(self) -> Repository:
        """Return the definitions."""
        return Repository(self.store)

    def now_us(self) -> int:
        """Return the time, microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def definitions_changed(self) -> None:
        """Have the running node publish soon."""
        if self.node is not None:
            self.node.upkeep.definitions_changed()
