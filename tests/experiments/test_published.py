"""Snapshots of many hosts: each content is published once, and everybody has the same version and moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.publishing import published, snapshot_file
from experiments.publishing.publish import AHEAD_US, publish
from experiments.security import keys
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.publication_tables import published_snapshots

NOW = 1_772_500_000_000_000
PROJECT = "kind: project\nname: Harbour Retail\ncurrency: CNY\nallow_personal_ids: {personal}\n"


def define(store: Store, personal: str) -> None:
    Repository(store).apply(load_text(PROJECT.format(personal=personal)), "test", now=NOW)


def hosts(store: Store, tmp_path: Path, count: int) -> list[Settings]:
    return [Settings(tmp_path / f"host-{number}", store.url) for number in range(count)]


def rows(store: Store) -> int:
    with store.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(published_snapshots)) or 0)


def test_another_host_copies_what_was_published(store: Store, tmp_path: Path) -> None:
    one, two = hosts(store, tmp_path, 2)
    define(store, "false")
    version = publish(store, one, NOW)
    assert publish(store, two, NOW + 60_000_000) == version
    copied = [snapshot_file.path_of(host.snapshot_dir, version).read_bytes() for host in (one, two)]
    assert copied[0] == copied[1]
    define(store, "true")
    newer = publish(store, two, NOW + 70_000_000)
    assert newer > version
    assert publish(store, one, NOW + 71_000_000) == newer
    assert (
        snapshot_file.read(snapshot_file.path_of(one.snapshot_dir, newer)).effective_at == NOW + 70_000_000 + AHEAD_US
    )
    assert rows(store) == 2


def test_going_back_to_an_earlier_content_is_a_new_version(store: Store, tmp_path: Path) -> None:
    """The host that still has the earlier content in its folder must not take it for the newest."""
    one, two = hosts(store, tmp_path, 2)
    define(store, "false")
    first = publish(store, one, NOW)
    define(store, "true")
    second = publish(store, two, NOW + 1)
    define(store, "false")
    third = publish(store, one, NOW + 2)
    assert first < second < third
    assert publish(store, two, NOW + 3) == third


def test_hosts_that_publish_at_once_publish_once(store: Store, tmp_path: Path) -> None:
    define(store, "false")
    versions: list[str] = []

    def work(settings: Settings, at: int) -> None:
        versions.append(publish(store, settings, at))

    threads = [
        threading.Thread(target=work, args=(settings, NOW + number))
        for number, settings in enumerate(hosts(store, tmp_path, 4))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(versions) == 4
    assert len(set(versions)) == 1
    assert rows(store) == 1


def test_a_folder_from_before_there_was_a_table_keeps_its_version(store: Store, tmp_path: Path) -> None:
    one, two = hosts(store, tmp_path, 2)
    define(store, "false")
    version = publish(store, one, NOW)
    with store.begin() as connection:
        connection.execute(published_snapshots.delete())
    assert publish(store, one, NOW + 5) == version
    assert publish(store, two, NOW + 6) == version


def test_a_damaged_copy_is_written_again(store: Store, tmp_path: Path) -> None:
    (one,) = hosts(store, tmp_path, 1)
    define(store, "false")
    publish(store, one, NOW)
    define(store, "true")
    version = publish(store, one, NOW + 1)
    path = snapshot_file.path_of(one.snapshot_dir, version)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert publish(store, one, NOW + 2) == version
    assert path.read_bytes() == whole


def test_an_older_program_copies_and_does_not_publish_in_turns(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a deployment is upgraded, both compile the same definitions, differently perhaps."""
    one, two = hosts(store, tmp_path, 2)
    define(store, "false")
    publish(store, one, NOW)
    with store.begin() as connection:  # as a newer program would have compiled it
        connection.execute(published_snapshots.update().values(program="999.0", content_digest="other"))
    version = publish(store, one, NOW + 1)
    assert publish(store, two, NOW + 2) == version
    assert rows(store) == 1
    define(store, "true")
    changed = publish(store, two, NOW + 3)
    assert changed > version, "a change of definitions is published by whoever sees it first"
    monkeypatch.setattr(published, "program", lambda: "0.0.1")
    assert publish(store, one, NOW + 4) == changed


def test_only_the_last_snapshots_stay(store: Store, tmp_path: Path) -> None:
    (one,) = hosts(store, tmp_path, 1)
    for number in range(published.KEPT + 3):
        define(store, "false" if number % 2 else "true")
        publish(store, one, NOW + number)
    assert rows(store) == published.KEPT


@pytest.mark.parametrize("store_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_hosts_whose_clocks_differ_agree_when_a_key_expires(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by its own clock, they would publish in turns for as long as they differ. An SQLite file has one host."""
    define(store, "false")
    real = time.time_ns
    keys.create(store, "shop", ["decide"], actor="test", expires_at=real() // 1000 + 60_000_000)
    versions = set()
    for ahead_s, host in zip((0, 3600, 0, 3600), hosts(store, tmp_path, 2) * 2, strict=True):
        monkeypatch.setattr(time, "time_ns", lambda ahead_s=ahead_s: real() + ahead_s * 1_000_000_000)
        versions.add(publish(store, host))
    assert len(versions) == rows(store) == 1
