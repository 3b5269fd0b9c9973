"""Opening the deployment that a command works on, with errors that say what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.settings import Settings
    from experiments.store import Store


@contextlib.contextmanager
def opened(obj: dict[str, Any], *, create: bool = False) -> Iterator[tuple[Store, Settings]]:
    """Open the store of the deployment that the command line names, current migrations required.

    Args:
        obj: the options of the main command.
        create: make an embedded database that is not there yet: it needs no set-up.

    Raises:
        UserError: when the database is away or not migrated.
    """
    from experiments.settings import Settings
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import is_empty, pending, upgrade

    settings = Settings.from_env(data=obj["data"], database=obj["database"])
    try:
        store = open_store(settings.database_url)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        if create and store.dialect == "sqlite" and is_empty(store):
            upgrade(store)
        elif pending(store):
            raise UserError("the database is not up to date; run equipoise migrate first")
        yield store, settings
    except StoreError as error:
        raise UserError(str(error)) from error
    finally:
        store.close()
