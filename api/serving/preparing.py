"""Before anybody answers: the folders, the tables of the database, and something to decide from."""

from __future__ import annotations

from collections.abc import Callable

from api.cli import UserError
from api.node import metrics
from experiments.settings import Settings

_EXPOSED = (
    "{} is open to everybody who can reach it, because no API key was ever made; "
    "make one with equipoise keys create NAME --scope manage, or set EQUIPOISE_AUTH=required"
)


def prepare(
    settings: Settings, tell: Callable[[str], None], warn: Callable[[str], None], *, exposed_at: str | None = None
) -> None:
    """Make the folders, migrate, and publish the first snapshot.

    A database that is away stops nobody who has a snapshot to decide from.

    Args:
        settings: of the deployment.
        tell: is given what was done.
        warn: is given what is wrong but stops nobody.
        exposed_at: the address, where others than this machine can reach it: they should not find it open.

    Raises:
        UserError: when there is nothing to serve from.
    """
    from experiments.log.spool_file import SpoolError, prepare_folder
    from experiments.publishing import snapshot_file
    from experiments.publishing.publish import publish
    from experiments.security import keys
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import upgrade

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        prepare_folder(settings.spool_dir)
        metrics.sweep(settings.data_dir)
        store = open_store(settings.database_url)
        try:
            for migration in upgrade(store):
                tell(f"Database: applied {migration}")
            if not snapshot_file.versions(settings.snapshot_dir):
                # So that whoever answers first has something to decide from, and to know callers by.
                publish(store, settings)
            if exposed_at and not settings.auth_required and not keys.all_keys(store):
                warn(_EXPOSED.format(exposed_at))
        finally:
            store.close()
    except SpoolError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        why = "it is a file" if settings.data_dir.is_file() else error.strerror
        raise UserError(f"cannot use the data folder {settings.data_dir}: {why}; name another with --data") from None
    except StoreError as error:
        if not any(settings.snapshot_dir.glob("snapshot-*")):
            raise UserError(f"{error}; there is no published snapshot to decide from either") from None
        warn(f"{error}; deciding from the last published snapshot until it is back")
        if exposed_at and not settings.auth_required and _open_by_snapshot(settings):
            warn(_EXPOSED.format(exposed_at))


def _open_by_snapshot(settings: Settings) -> bool:
    """Return whether the newest published snapshot that is whole lets everybody in."""
    from experiments.publishing.snapshot_file import SnapshotFile, SnapshotMissingError

    try:
        return not SnapshotFile(settings.snapshot_dir).load().source.security.required
    except SnapshotMissingError:
        return False  # nobody is let in before the first snapshot
