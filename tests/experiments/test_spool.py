"""The spool: grouping, bounds, a full disk, the right kind of disk.

That acknowledged rows are on disk is shown in tests/system/test_durability.py.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.log.local_disk import file_system, is_network_file_system
from experiments.log.spool import Spool, SpoolError, SpoolFullError
from experiments.log.spool_file import FileLock, LoadableSpoolFile, OwnedSpoolFile, spool_paths
from tests.experiments.log_samples import decision, event


def rows_in(folder: Path) -> list[bytes]:
    found: list[bytes] = []
    for path in spool_paths(folder):
        spool = LoadableSpoolFile(path)
        found += [data for _, _, data in spool.read(1_000_000)]
        spool.close()
    return found


def test_rows_are_in_the_file_when_the_future_is_resolved(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for i in range(20):
            spool.append([decision(f"m-{i}"), event(f"e-{i}")]).result(timeout=10)
            assert len(rows_in(tmp_path)) == 2 * (i + 1)
        assert spool.queued_rows == 0


def test_many_threads_share_commits_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    commit = OwnedSpoolFile.commit
    monkeypatch.setattr(OwnedSpoolFile, "commit", lambda self, rows: (sizes.append(len(rows)), commit(self, rows))[1])
    with Spool(tmp_path) as spool:

        def work(worker: int) -> None:
            for start in range(0, 200, 20):
                futures = [spool.append([event(f"{worker}-{start + i}")]) for i in range(20)]
                for future in futures:
                    future.result(timeout=30)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(sizes) == 1_600
    assert len(sizes) < 1_600 / 4, "commits are not grouped"
    assert len(set(rows_in(tmp_path))) == 1_600


def test_one_call_into_the_loop_resolves_a_whole_commit(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        calls = 0
        real = loop.call_soon_threadsafe

        def counting(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            return real(*arguments, **options)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counting  # type: ignore[method-assign,assignment]
        with Spool(tmp_path) as spool:
            await asyncio.gather(*[spool.append_async([event(f"e-{i}")]) for i in range(500)])
        return calls, len(rows_in(tmp_path))

    calls, rows = asyncio.run(main())
    assert rows == 500
    assert calls <= 100


def test_a_caller_that_went_away_disturbs_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        with Spool(tmp_path) as spool:
            gone = spool.append_async([event("gone")])
            gone.cancel()
            await spool.append_async([event("stays")])

    asyncio.run(main())
    assert len(rows_in(tmp_path)) == 2


def test_a_full_queue_refuses_at_once_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    commit = OwnedSpoolFile.commit
    monkeypatch.setattr(OwnedSpoolFile, "commit", lambda self, rows: (go.wait(10), commit(self, rows))[1])
    with Spool(tmp_path, max_queued_rows=5) as spool:
        first = [spool.append([event(f"e-{i}")]) for i in range(5)]
        with pytest.raises(SpoolFullError, match="5 rows wait for the disk: try again in 1 s"):
            spool.append([event("too much")])
        go.set()
        for future in first:
            future.result(timeout=10)
        spool.append([event("again")]).result(timeout=10)
    assert len(rows_in(tmp_path)) == 6


def test_a_row_without_json_fails_alone(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        with pytest.raises(ValueError, match="surrogates"):
            spool.append([event(), event(unit="\ud800")])
        spool.append([event()]).result(timeout=10)
    assert len(rows_in(tmp_path)) == 1


def test_a_closed_spool_has_written_everything_and_refuses_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    futures = [spool.append([event(f"e-{i}")]) for i in range(3_000)]
    spool.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(rows_in(tmp_path)) == 3_000
    with pytest.raises(SpoolError, match="stopping"):
        spool.append([event()])
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root: the full disk is tested only there")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_fails_fast_keeps_what_was_acknowledged_and_recovers(small_disk: Path) -> None:
    filler = small_disk / "filler"
    acknowledged: list[str] = []
    refusals: list[str] = []
    with Spool(small_disk) as spool:
        spool.append([event("before")]).result(timeout=10)
        acknowledged.append("before")
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for i in range(200):
            rows = [event(f"full-{i}-{k}", properties='{"p":"' + "y" * 500 + '"}') for k in range(10)]
            error = spool.append(rows).exception(timeout=10)
            if error is None:
                acknowledged += [row.event_id for row in rows]
            else:
                refusals.append(str(error))
        assert refusals
        assert all("try again in 1 s" in refusal for refusal in refusals)
        assert spool.last_error is not None
        filler.unlink()
        spool.append([event("after")]).result(timeout=10)
        acknowledged.append("after")
        assert spool.last_error is None
    text = b"\n".join(rows_in(small_disk))
    assert all(f'"event_id":"{event_id}"'.encode() in text for event_id in acknowledged)
    assert len(rows_in(small_disk)) == len(acknowledged)


def test_after_a_disk_error_it_goes_on_in_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed fsync may have lost the page it reports on: that file gets no more rows (fsyncgate, 2018)."""
    commit = OwnedSpoolFile.commit
    failing = [True]

    def fail_once(self: OwnedSpoolFile, rows: list[tuple[str, bytes]]) -> None:
        if failing:
            failing.clear()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        commit(self, rows)

    with Spool(tmp_path) as spool:
        first = spool.path
        monkeypatch.setattr(OwnedSpoolFile, "commit", fail_once)
        with pytest.raises(SpoolError, match="disk I/O error"):
            spool.append([event("lost")]).result(timeout=10)
        spool.append([event("kept")]).result(timeout=10)
        assert spool.path != first
    assert len(rows_in(tmp_path)) == 1
    assert len(spool_paths(tmp_path)) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_fails_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OwnedSpoolFile, rows: list[tuple[str, bytes]]) -> None:
        raise MemoryError

    monkeypatch.setattr(OwnedSpoolFile, "commit", fail)
    spool = Spool(tmp_path)
    with pytest.raises(SpoolError, match="writer has failed: restart"):
        spool.append([event()]).result(timeout=10)
    spool._thread.join(10)
    with pytest.raises(SpoolError, match="writer has failed: restart"):
        spool.append([event()])
    spool.close()


def test_the_lock_lives_as_long_as_its_process(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        assert spool.path is not None
        assert FileLock.take(spool.path.with_suffix(".lock")) is None
    lock = FileLock.take(spool.path.with_suffix(".lock"))
    assert lock is not None
    lock.release()


def test_a_lock_on_a_removed_file_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = FileLock.take(path)
    assert first is not None
    waiting: list[FileLock | None] = []
    thread = threading.Thread(target=lambda: waiting.append(FileLock.take(path, wait=True)))
    thread.start()
    first.release(remove=True)
    thread.join(10)
    assert waiting[0] is not None
    assert path.exists(), "the second lock guards a file that others can see"
    assert FileLock.take(path) is None
    waiting[0].release()


def test_synchronous_is_full(tmp_path: Path) -> None:
    file = OwnedSpoolFile(tmp_path)
    assert file._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert file._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


MOUNTS = """\
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /srv rw - nfs4 server:/export rw,vers=4.2
24 22 0:22 / /srv/local\\040disk rw - xfs /dev/vdb rw
25 22 0:23 / /mnt rw - ext4 /dev/vdc rw
26 22 0:24 / /mnt rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/srv", "nfs4", True),
        ("/srv/spool", "nfs4", True),
        ("/srvx", "ext4", False),
        ("/srv/local disk/spool", "xfs", False),
        ("/mnt/spool", "cifs", True),
        ("/", "ext4", False),
    ],
)
def test_network_file_systems_are_found(tmp_path: Path, folder: str, kind: str, network: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert file_system(Path(folder), table) == kind
    assert is_network_file_system(Path(folder), table) is network


def test_without_a_mount_table_nothing_is_refused(tmp_path: Path) -> None:
    assert not is_network_file_system(tmp_path, tmp_path / "absent")


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 1 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - nfs4 host:/x rw\n")
    monkeypatch.setattr(
        "experiments.log.spool_file.is_network_file_system", lambda folder: is_network_file_system(folder, table)
    )
    with pytest.raises(SpoolError, match=r"network file system .* set EQUIPOISE_DATA to a folder on a local disk"):
        Spool(tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot create the spool folder"):
        Spool(tmp_path / "file" / "spool")
