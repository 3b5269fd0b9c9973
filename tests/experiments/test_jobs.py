"""Jobs: one lease, each job once, taken up again when its worker dies; their files in parts."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.jobs import files, queue
from experiments.jobs.lease import Lease, LeaseLostError, holder_name
from experiments.store import Store, open_store
from experiments.store.job_tables import job_files, job_parts, jobs, leases
from experiments.store.migrate import upgrade
from tests import postgres

SECOND = 1_000_000
NOW = 1_772_524_800_000_000


def put(store: Store, job_id: str = "j-1", kind: str = "count", **params: object) -> tuple[queue.Job, bool]:
    with store.begin() as connection:
        return queue.enqueue(connection, job_id, kind, params, created_by="test", now=NOW)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# the lease ------------------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder_until_it_gives_it_back(store: Store) -> None:
    first, second = (Lease(store, "work", holder_name()) for _ in range(2))
    assert first.acquire()
    assert not second.acquire()
    assert first.acquire()
    assert (first.held, second.held) == (True, False)
    first.release()
    assert second.acquire()
    assert not first.acquire()


def test_a_lease_runs_out_and_changes_hands_with_a_new_token(store: Store) -> None:
    first, second = (Lease(store, "work", name, lasts_s=0.3) for name in ("a", "b"))
    assert first.acquire()
    threading.Event().wait(0.4)
    assert not first.held
    assert second.acquire()
    with store.read() as connection:
        assert connection.execute(sa.select(leases.c.holder, leases.c.token)).one() == ("b", 2)


def test_a_suspended_holder_knows_it_before_it_does_anything(store: Store) -> None:
    clock = Clock()
    lease = Lease(store, "work", "a", clock=clock)
    assert lease.acquire()
    clock.now += 11
    assert lease.held
    clock.now += 2
    assert not lease.held
    # The row may still say "a": nothing may be done in its name until it was asked again.
    with pytest.raises(LeaseLostError, match="work"), store.begin() as connection:
        lease.check(connection)
    assert lease.acquire()
    with store.begin() as connection:
        lease.check(connection)


def test_a_lease_taken_by_another_fails_the_check(store: Store) -> None:
    first = Lease(store, "work", "a")
    first.acquire()
    with store.begin() as connection:
        connection.execute(sa.update(leases).values(holder="b"))
    assert first.held  # its own clock knows nothing of it
    with pytest.raises(LeaseLostError), store.begin() as connection:
        first.check(connection)


def test_a_lease_that_ends_implausibly_late_is_over(store: Store) -> None:
    Lease(store, "work", "a").acquire()
    with store.begin() as connection:
        connection.execute(sa.update(leases).values(expires_at=leases.c.expires_at + 86_400 * SECOND))
    assert Lease(store, "work", "b").acquire()


@pytest.mark.postgres
def test_hosts_whose_clocks_differ_agree_on_the_holder(
    postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the server's clock counts: a host that is a day ahead takes nothing."""
    with postgres_server.fresh_database() as url:
        store = open_store(url)
        upgrade(store)
        first, ahead = (Lease(store, "work", name) for name in ("a", "b"))
        assert first.acquire()
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + 86_400 * 10**9)
        assert not ahead.acquire()
        monkeypatch.setattr(time, "time_ns", lambda: real() - 86_400 * 10**9)
        assert first.acquire()
        put(store)
        assert not ahead.acquire()
        store.close()


def test_many_ask_at_once_and_one_gets_it(store: Store) -> None:
    got: list[str] = []
    start = threading.Barrier(8)

    def ask(name: str) -> None:
        start.wait()
        if Lease(store, "work", name).acquire():
            got.append(name)

    threads = [threading.Thread(target=ask, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


# the queue ------------------------------------------------------------------------------------------------------------


def test_asking_twice_is_asking_once(store: Store) -> None:
    first, new = put(store, rows=3)
    again, new_again = put(store, rows=3)
    assert (new, new_again) == (True, False)
    assert first == again
    assert first.params == {"rows": 3}
    with pytest.raises(queue.JobConflictError, match="j-1 is there already"):
        put(store, rows=4)


def test_a_job_goes_from_queued_to_done(store: Store) -> None:
    put(store)
    job = queue.claim(store, "w1", ["count"])
    assert job is not None
    assert (job.state, job.attempts, job.holder) == ("running", 1, "w1")
    assert queue.claim(store, "w2", ["count"]) is None
    queue.beat(store, job, 5, 10)
    queue.finish(store, job, {"answer": 42})
    done = queue.get(store, "j-1")
    assert (done.state, done.rows_done, done.rows_total, done.result, done.holder) == (
        "done", 5, 10, {"answer": 42}, None,
    )  # fmt: skip
    assert done.finished_at is not None


def test_a_worker_takes_only_what_it_can_do_and_oldest_first(store: Store) -> None:
    for name in ("b", "a"):
        put(store, name)
    assert queue.claim(store, "w", ["other"]) is None
    job = queue.claim(store, "w", ["count", "other"])
    assert job is not None
    assert job.id == "a"


def test_a_silent_workers_job_is_taken_up_and_its_own_end_no_longer_counts(store: Store) -> None:
    put(store)
    first = queue.claim(store, "w1", ["count"], now=NOW)
    assert first is not None
    assert queue.claim(store, "w2", ["count"], now=NOW + 11 * SECOND) is None
    assert queue.claim(store, "w1", ["count"], now=NOW + 60 * SECOND) is None  # nobody takes from oneself
    second = queue.claim(store, "w2", ["count"], now=NOW + 13 * SECOND)
    assert second is not None
    assert second.attempts == 2
    for late in (lambda: queue.finish(store, first, {}), lambda: queue.beat(store, first)):
        with pytest.raises(queue.JobLostError):
            late()
    queue.finish(store, second, {"by": "w2"})
    assert queue.get(store, "j-1").result == {"by": "w2"}


def test_a_job_that_kills_its_workers_is_given_up(store: Store) -> None:
    put(store)
    for attempt in range(queue.MAX_ATTEMPTS):
        assert queue.claim(store, f"w{attempt}", ["count"], now=NOW + attempt * 60 * SECOND) is not None
    assert queue.claim(store, "w9", ["count"], now=NOW + 600 * SECOND) is None
    job = queue.get(store, "j-1")
    assert job.state == "failed"
    assert job.error == "its worker ended 4 times without finishing it"


def test_failures_wait_longer_each_time_and_end(store: Store) -> None:
    put(store)
    at, waits = NOW, []
    for _ in range(queue.MAX_ATTEMPTS):
        job = queue.claim(store, "w", ["count"], now=at)
        assert job is not None
        state = queue.fail(store, job, "the disk is full", again=True)
        found = queue.get(store, "j-1")
        with store.begin() as connection:  # as if it had happened at `at`
            if state == "queued":
                waits.append((found.not_before - time.time_ns() // 1000) / SECOND)
            connection.execute(sa.update(jobs).values(not_before=at))
    assert state == "failed"
    assert found.error == "the disk is full"
    assert waits == pytest.approx([10, 60, 300], abs=5)


def test_what_cannot_go_better_is_not_tried_again(store: Store) -> None:
    put(store)
    job = queue.claim(store, "w", ["count"])
    assert job is not None
    assert queue.fail(store, job, "no column 'member'", again=False) == "failed"


def test_a_job_given_back_has_lost_no_attempt(store: Store) -> None:
    put(store)
    job = queue.claim(store, "w", ["count"])
    assert job is not None
    queue.give_back(store, job)
    again = queue.claim(store, "w", ["count"])
    assert again is not None
    assert again.attempts == 1


def test_a_cancelled_job_is_lost_to_its_worker(store: Store) -> None:
    put(store)
    job = queue.claim(store, "w", ["count"])
    assert job is not None
    assert queue.cancel(store, "j-1").state == "cancelled"
    with pytest.raises(queue.JobLostError):
        queue.beat(store, job)
    assert queue.cancel(store, "j-1").state == "cancelled"
    with pytest.raises(queue.UnknownJobError, match="no job 'j-2'"):
        queue.cancel(store, "j-2")


def test_who_lost_the_lease_takes_no_job(store: Store) -> None:
    put(store)
    lease = Lease(store, "work", "a")
    with pytest.raises(LeaseLostError):
        queue.claim(store, "a", ["count"], allowed=lease.check)
    assert queue.get(store, "j-1").state == "queued"
    lease.acquire()
    assert queue.claim(store, "a", ["count"], allowed=lease.check) is not None


def test_many_workers_take_each_job_once(store: Store) -> None:
    for number in range(20):
        put(store, f"j-{number:02}")
    taken: list[str] = []

    def work(name: str) -> None:
        while (job := queue.claim(store, name, ["count"])) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [f"j-{number:02}" for number in range(20)]


def test_jobs_are_listed_newest_first_page_by_page(store: Store) -> None:
    for number in range(5):
        put(store, f"j-{number}")
    first = queue.listed(store, limit=3)
    assert [job.id for job in first] == ["j-4", "j-3", "j-2"]
    rest = queue.listed(store, limit=3, before=(first[-1].created_at, first[-1].id))
    assert [job.id for job in rest] == ["j-1", "j-0"]
    assert queue.listed(store, kind="other") == queue.listed(store, state="done") == []


# files ----------------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # 2.56 MB: three parts
    pieces = (content[start : start + 70_001] for start in range(0, len(content), 70_001))
    kept = files.save(store, "j-1", "list", pieces, name="members.csv")
    assert (kept.bytes, kept.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert files.find(store, "j-1", "list") == kept
    assert b"".join(files.read(store, kept)) == content
    files.fetch(store, kept, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == content
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(job_parts)) == 3


def test_an_empty_file_is_a_file(store: Store) -> None:
    kept = files.save(store, "j-1", "list", [], name="empty.csv")
    assert list(files.read(store, kept)) == []


def test_an_upload_that_breaks_off_is_no_file(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_500_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        files.save(store, "j-1", "list", chunks(), name="members.csv")
    assert files.find(store, "j-1", "list") is None


def test_a_replaced_file_is_read_to_its_end(store: Store) -> None:
    old = files.save(store, "j-1", "result", [b"a" * 1_500_000], name="r.csv")
    reading = files.read(store, old)
    next(reading)
    new = files.save(store, "j-1", "result", [b"b"], name="r.csv")
    assert sum(map(len, reading)) == 500_000
    assert files.find(store, "j-1", "result") == new


def test_altered_bytes_are_noticed(store: Store) -> None:
    kept = files.save(store, "j-1", "result", [b"abc"], name="r.csv")
    with store.begin() as connection:
        connection.execute(sa.update(job_parts).values(bytes=b"abd"))
    with pytest.raises(files.FileMissingError, match="checksum"):
        list(files.read(store, kept))


def test_cleaning_takes_old_files_and_what_nobody_names(store: Store) -> None:
    day = 86_400 * SECOND
    for name in ("old", "new", "waiting"):
        put(store, name)
        files.save(store, name, "list", [b"x"], name="l.csv")
    files.save(store, "never-asked", "list", [b"x"], name="l.csv")
    with store.begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == "old").values(finished_at=NOW - day))
        connection.execute(sa.update(jobs).where(jobs.c.id == "new").values(finished_at=NOW + day))
        for table in (job_files, job_parts):
            connection.execute(sa.update(table).values(created_at=NOW))
    assert files.clean(store, NOW) == 2
    with store.read() as connection:
        assert set(connection.scalars(sa.select(job_files.c.job))) == {"new", "waiting"}
        assert connection.scalar(sa.select(sa.func.count()).select_from(job_parts)) == 2
