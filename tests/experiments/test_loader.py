"""The loader: what was acknowledged arrives once, whatever is repeated, killed or broken on the way."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from allocation.decision import Decision
from experiments.log import absorb as absorb_module
from experiments.log.absorb import Absorbed, absorb, release_quarantined
from experiments.log.dead_letters import dead_letter
from experiments.log.loader import Loader
from experiments.log.rows import DecisionRow, EventRow
from experiments.log.spool import Spool
from experiments.log.spool_file import LoadableSpoolFile, spool_paths
from experiments.store import Store, StoreError, open_store
from experiments.store.log_tables import conflicts, dead_letters, decisions, events, quarantined_events
from tests.experiments.log_samples import NOON_US, decision, event

MINUTE_US = 60_000_000


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def table(store: Store, which: sa.Table) -> list[sa.Row[tuple[object, ...]]]:
    with store.read() as connection:
        return list(connection.execute(sa.select(which).order_by(*which.primary_key)))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def at_noon(folder: Path, store: Store, **options: int) -> Loader:
    return Loader(folder, store, clock=lambda: NOON_US, **options)


def test_rows_arrive_as_they_were(store: Store, spool_dir: Path) -> None:
    rows = [
        decision("会员-🎁", "优惠"),
        decision("m-2", None, holdout="global", propensity=None),
        event(),
        event("e-2"),
    ]
    rows.append(event("e-3", object_id=None, value_minor=None, currency=None, properties='{"名":"值\\n\\t\\\\"}'))
    with Spool(spool_dir) as spool:
        spool.append(rows).result(timeout=10)
        stats = at_noon(spool_dir, store).run_once()
    assert stats.absorbed == Absorbed(decisions=2, events=3)
    stored = {row.decision_id: DecisionRow(*row) for row in table(store, decisions)}
    assert stored == {row.decision_id: row for row in rows if isinstance(row, DecisionRow)}
    for stored_event, row in zip(table(store, events), rows[2:], strict=True):
        assert {c: stored_event._mapping[c] for c in EventRow.__struct_fields__} == msgspec.structs.asdict(row)
        assert stored_event.day == row.at // 86_400_000_000


def test_loading_again_changes_nothing(store: Store, spool_dir: Path) -> None:
    """A crash after the store's commit and before the spool forgets: the same rows come again."""
    rows = [*(decision(f"m-{i}") for i in range(50)), *(event(f"e-{i}") for i in range(50))]
    with store.begin() as connection:
        assert absorb(connection, rows, NOON_US) == Absorbed(decisions=50, events=50)
    with Spool(spool_dir) as spool:
        spool.append(rows[::-1]).result(timeout=10)
        stats = at_noon(spool_dir, store, batch_rows=7).run_once()
    assert stats.absorbed == Absorbed(duplicates=100)
    assert len(table(store, decisions)) == len(table(store, events)) == 50


def test_a_crash_between_storing_and_forgetting_loads_each_row_once(
    store: Store, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool(spool_dir) as spool:
        spool.append([event(f"e-{i}") for i in range(30)]).result(timeout=10)

        def crash(self: LoadableSpoolFile, through: int) -> None:
            raise sqlite3.OperationalError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(LoadableSpoolFile, "forget", crash)
            with pytest.raises(Exception, match="killed"):
                at_noon(spool_dir, store).run_once()
        assert at_noon(spool_dir, store).run_once().absorbed == Absorbed(duplicates=30)
    assert len(table(store, events)) == 30
    assert at_noon(spool_dir, store).waiting_rows() == 0


def test_a_later_decision_with_another_variant_is_a_conflict(store: Store, spool_dir: Path) -> None:
    loader = at_noon(spool_dir, store)
    with Spool(spool_dir) as spool:
        spool.append([decision("m-1", "a"), decision("m-2", "a"), decision("m-1", "b", at=NOON_US + 1)]).result(10)
        assert loader.run_once().absorbed == Absorbed(decisions=2, conflicts=1)
        spool.append([decision("m-2", None), decision("m-1", "b"), decision("m-2", "a", propensity=0.1)]).result(10)
        assert loader.run_once().absorbed == Absorbed(conflicts=1, duplicates=2)
    assert {(row.unit, row.variant) for row in table(store, decisions)} == {("m-1", "a"), ("m-2", "a")}
    noted = {(row.unit, row.stored_variant, row.variant, row.experiment, row.phase) for row in table(store, conflicts)}
    assert noted == {("m-1", "a", "b", "winback", 1), ("m-2", "a", "", "winback", 1)}


def test_the_same_event_with_other_content_is_a_dead_letter(store: Store, spool_dir: Path) -> None:
    loader = at_noon(spool_dir, store)
    with Spool(spool_dir) as spool:
        spool.append([event("e-1"), event("e-2"), event("e-2", value_minor=1)]).result(10)
        assert loader.run_once().absorbed == Absorbed(events=2, dead_letters=1)
        spool.append([event("e-1", received_at=NOON_US + 9), event("e-1", unit="m-9"), event("e-2", value_minor=1)])
        spool.append([event("e-1", source="cdp"), event("e-1", at=NOON_US - 86_400_000_000)]).result(10)
        assert loader.run_once().absorbed == Absorbed(events=2, dead_letters=1, duplicates=1)
    letters = table(store, dead_letters)
    assert {(row.kind, row.reason, row.source) for row in letters} == {("event", "conflicting_duplicate", "pos")}
    assert [msgspec.json.decode(row.payload)["event_id"] for row in letters].count("e-2") == 1
    assert next(row.value_minor for row in table(store, events) if row.event_id == "e-2") == 12_345


def test_what_another_host_puts_into_quarantine_meanwhile_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock is behind: what it holds to be of the future is due here already."""
    an_hour_ago = NOON_US - 60 * MINUTE_US
    real = absorb_module._absorb_events

    def meanwhile(connection: sa.Connection, *rest: Any) -> int:
        monkeypatch.setattr(absorb_module, "_absorb_events", real)
        absorb(connection, [event("theirs", at=NOON_US)], an_hour_ago)
        return real(connection, *rest)

    with store.begin() as connection:
        absorb(connection, [event("ours", at=NOON_US)], an_hour_ago)
    monkeypatch.setattr(absorb_module, "_absorb_events", meanwhile)
    with store.begin() as connection:
        release_quarantined(connection, NOON_US)
    assert [row.event_id for row in table(store, quarantined_events)] == ["theirs"]
    with store.begin() as connection:
        release_quarantined(connection, NOON_US)
    assert sorted(row.event_id for row in table(store, events)) == ["ours", "theirs"]


def test_the_future_waits_for_its_time(store: Store, spool_dir: Path) -> None:
    now = NOON_US
    loader = Loader(spool_dir, store, clock=lambda: now)
    later = event("later", at=NOON_US + 11 * MINUTE_US)
    with Spool(spool_dir) as spool:
        spool.append([event("soon", at=NOON_US + 10 * MINUTE_US), later, later]).result(10)
        assert loader.run_once().absorbed == Absorbed(events=1, quarantined=1, duplicates=1)
        assert [row.event_id for row in table(store, quarantined_events)] == ["later"]
        now += 10 * MINUTE_US
        assert loader.run_once().absorbed == Absorbed()
        now += MINUTE_US
        assert loader.run_once().absorbed == Absorbed(events=1, released=1)
    assert table(store, quarantined_events) == []
    assert [row.event_id for row in table(store, events)] == ["later", "soon"]


def test_dead_letters_travel_the_same_way(store: Store, spool_dir: Path) -> None:
    letter = dead_letter("event", "invalid", "no unit", '{"name":"x"}', source="cdp", received_at=NOON_US)
    with Spool(spool_dir) as spool:
        spool.append([letter, letter]).result(10)
        assert at_noon(spool_dir, store).run_once().absorbed == Absorbed(dead_letters=1)
    assert tuple(table(store, dead_letters)[0]) == msgspec.structs.astuple(letter)


@pytest.mark.parametrize("poison", [event("poison", value_minor=2**63), event("poison", value_minor=-(2**63) - 1)])
def test_a_row_that_the_database_refuses_is_put_aside_and_the_queue_goes_on(
    store: Store, spool_dir: Path, poison: EventRow
) -> None:
    rows = [event(f"e-{i}") for i in range(40)]
    with Spool(spool_dir) as spool:
        spool.append([*rows[:13], poison, *rows[13:]]).result(10)
        stats = at_noon(spool_dir, store).run_once()
    assert stats.absorbed == Absorbed(events=40, dead_letters=1)
    letter = table(store, dead_letters)[0]
    assert letter.reason == "storage_refused"
    assert msgspec.json.decode(letter.payload)["event_id"] == "poison"


@pytest.mark.postgres
def test_a_nul_character_is_a_dead_letter_where_the_database_cannot_hold_it(store: Store, spool_dir: Path) -> None:
    with Spool(spool_dir) as spool:
        spool.append([event("ok"), event("nul", name="a\x00b")]).result(10)
        stats = at_noon(spool_dir, store).run_once()
    assert stats.absorbed.events + stats.absorbed.dead_letters == 2
    assert stats.absorbed.dead_letters == (store.dialect == "postgresql")


def test_rows_of_another_version_are_kept(store: Store, spool_dir: Path) -> None:
    """Unknown fields of a newer row are passed over; what lacks a field or is no JSON is a dead letter."""
    with Spool(spool_dir) as spool:
        spool.append([event("e-1")]).result(10)
        assert spool.path is not None
        with sqlite3.connect(spool.path) as connection:
            known = msgspec.json.encode({**msgspec.structs.asdict(event("e-2")), "new_field": 1})
            rows = [("e", known), ("e", b'{"event_id":"e-3"}'), ("d", b"\xff\xfe"), ("z", b"{}")]
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", [(100 + i, *row) for i, row in enumerate(rows)])
        stats = at_noon(spool_dir, store).run_once()
    assert stats.absorbed == Absorbed(events=2, dead_letters=3)
    assert {row.reason for row in table(store, dead_letters)} == {"unreadable"}


WRITER = """
import sys, os
from pathlib import Path
from experiments.log.spool import Spool
from tests.experiments.log_samples import event
spool = Spool(Path(sys.argv[1]))
for i in range(int(sys.argv[2])):
    spool.append([event(f"{os.getpid()}-{i}")]).result(timeout=10)
print("ready", flush=True)
sys.stdin.read()
"""


def test_spools_of_killed_processes_are_adopted(store: Store, spool_dir: Path) -> None:
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, spool_dir, "25"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
        )
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        loader = at_noon(spool_dir, store)
        stats = loader.run_once()
        assert (stats.absorbed.events, stats.spools, stats.adopted) == (50, 2, 0)
        assert len(spool_paths(spool_dir)) == 2, "files of living processes stay"
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        stats = loader.run_once()
        assert (stats.absorbed.events, stats.adopted) == (0, 1)
        assert len(spool_paths(spool_dir)) == 1
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert loader.run_once().adopted == 1
    assert names_in(spool_dir) == ["loader.lock"]


def test_a_damaged_spool_is_put_aside_and_the_others_go_on(store: Store, spool_dir: Path) -> None:
    (spool_dir / f"{'0' * 32}.spool").write_bytes(b"not a database, but long enough to be looked at" * 100)
    (spool_dir / f"{'1' * 32}.spool").write_bytes(b"")
    with Spool(spool_dir) as spool:
        spool.append([event()]).result(10)
        stats = at_noon(spool_dir, store).run_once()
    assert (stats.absorbed.events, stats.damaged, stats.adopted) == (1, 1, 1)
    assert (spool_dir / f"{'0' * 32}.damaged").exists()


def test_left_over_locks_are_swept(store: Store, spool_dir: Path) -> None:
    (spool_dir / f"{'2' * 32}.lock").write_bytes(b"")
    at_noon(spool_dir, store).run_once()
    assert names_in(spool_dir) == ["loader.lock"]


def test_the_spool_waits_while_the_database_is_away(spool_dir: Path) -> None:
    away = open_store("postgresql://nobody@127.0.0.1:1/none")
    loader = at_noon(spool_dir, away)
    with Spool(spool_dir) as spool:
        spool.append([event()]).result(timeout=10)
        with pytest.raises(StoreError, match="could not take the log"):
            loader.run_once()
        assert loader.last_error is not None
        assert loader.waiting_rows() == 1
        assert loader.loaded_through is None
        spool.append([event("e-2")]).result(timeout=10)
        assert loader.waiting_rows() == 2


def test_a_broken_store_is_never_taken_for_a_damaged_spool(store: Store, spool_dir: Path) -> None:
    with store.begin() as connection:
        connection.execute(sa.text("DROP TABLE events"))
    with Spool(spool_dir) as spool:
        spool.append([event()]).result(timeout=10)
    with pytest.raises(StoreError, match="could not take the log"):
        at_noon(spool_dir, store).run_once()
    assert at_noon(spool_dir, store).waiting_rows() == 1


def test_loaders_take_turns_while_writers_write(store: Store, spool_dir: Path) -> None:
    """Two loaders, two writing threads, small batches: each row once, the log's data time moves on."""
    stop = threading.Event()
    loaders = [Loader(spool_dir, store, batch_rows=50) for _ in range(2)]

    def load(loader: Loader) -> None:
        while not stop.wait(0.01):
            loader.run_once()
        loader.run_once()

    threads = [threading.Thread(target=load, args=(loader,)) for loader in loaders]
    with Spool(spool_dir) as first, Spool(spool_dir) as second:
        for thread in threads:
            thread.start()
        for i in range(300):
            futures = [spool.append([decision(f"m-{i}", "a"), event(f"e-{i}")]) for spool in (first, second)]
            for future in futures:
                future.result(timeout=30)
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
    assert len(table(store, decisions)) == len(table(store, events)) == 300
    assert table(store, conflicts) == table(store, dead_letters) == []
    assert all(loader.loaded_through is not None for loader in loaders)
    assert loaders[0].waiting_rows() == 0


def test_every_logged_decision_becomes_a_row() -> None:
    answer = Decision("d" * 32, "x", 3, 2, "member", "m", "s", "enrolled", "a", "assigned", 0.5, 7, "{}", None, "9")
    row = DecisionRow.from_decision(answer)
    shared = DecisionRow.__struct_fields__[: DecisionRow.__struct_fields__.index("source")]
    assert [getattr(row, name) for name in shared] == [getattr(answer, name) for name in shared]
    assert row.source == "decide"
    with pytest.raises(ValueError, match="only counted"):
        DecisionRow.from_decision(msgspec.structs.replace(answer, kind=None))


def test_a_repeat_whose_clock_was_corrected_by_another_amount_is_no_conflict(store: Store) -> None:
    """What makes two events the same is what was stated, not by how much it was corrected on arrival."""
    stated = NOON_US - 25 * 3_600_000_000
    first = event("e-1", at=NOON_US, stated_at=stated)
    again = event("e-1", at=NOON_US + 9_000_000, received_at=NOON_US + 10_000_000, stated_at=stated)
    uncorrected = event("e-1", at=stated)
    with store.begin() as connection:
        absorbed = absorb(connection, [first], NOON_US)
        absorbed += absorb(connection, [again, uncorrected], NOON_US)
        absorbed += absorb(connection, [event("e-1", at=NOON_US, stated_at=stated + 1)], NOON_US)
    assert absorbed == Absorbed(events=1, duplicates=2, dead_letters=1)
