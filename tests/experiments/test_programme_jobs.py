"""Jobs of the programme: what is kept is read by this version alone, and asked for only where there is something."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.errors import InputError
from experiments.jobs import queue
from experiments.jobs.handlers import load
from experiments.jobs.latest import course, latest_of_each
from experiments.keeping.repository import Repository
from experiments.programme.asking import ProgrammeOptions
from experiments.programme.jobs import (
    PROGRAMME,
    SURROGATE,
    ask_for_programme,
    foretold,
    programme_course,
    usual_options,
)
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.job_tables import jobs
from experiments.store.migrate import upgrade
from tests.experiments.measuring import NOW_US, START_US, define, experiment, metric
from tests.experiments.small_shop import walk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def kept(store: Store, name: str, kind: str, state: str, at: int, **more: object) -> None:
    values = {"params": "{}", "created_by": "t", "not_before": at, "rows_done": 0, "attempts": 1} | more
    with store.begin() as connection:
        connection.execute(sa.insert(jobs).values(id=name, kind=kind, state=state, created_at=at, **values))


def test_the_newest_that_is_done_counts_and_a_failure_only_while_it_is_the_newest(store: Store) -> None:
    kept(store, "a", PROGRAMME, "done", 1, result='{"n": 1}')
    kept(store, "b", PROGRAMME, "done", 2, result='{"n": 2}')
    kept(store, "c", PROGRAMME, "failed", 3, error="no such metric")
    kept(store, "x", PROGRAMME, "done", 9, result="{}", experiment="other")
    found = course(store, PROGRAMME)
    assert found.done is not None
    assert (found.done.result, found.under_way, found.failure) == ({"n": 2}, None, "no such metric")
    kept(store, "d", PROGRAMME, "queued", 4)
    found = course(store, PROGRAMME)
    assert (found.under_way, found.failure) == ("d", None)
    for place, (key, at) in enumerate((("one", 1), ("two", 2), ("one", 3))):
        kept(store, f"s{place}", SURROGATE, "done", at, result=json.dumps({"at": at}), experiment=key)
    assert [done.result for done in latest_of_each(store, SURROGATE, 5)] == [{"at": 3}, {"at": 2}]


def test_what_another_version_wrote_is_as_if_it_were_not_there(store: Store) -> None:
    define(store, metric("profit", "profit", margin={"rate": "0.4"}))
    kept(store, "a", PROGRAMME, "done", 1, result='{"format": "newer"}', params='{"by": "store"}')
    kept(store, "b", SURROGATE, "done", 1, result="{}", experiment="old")
    assert programme_course(store)[0] is None
    assert foretold(store, 5) == []
    assert usual_options(store, Repository(store)) == ProgrammeOptions(metric="profit")
    job = queue.get(store, "a")
    with pytest.raises(InputError, match="upgrade the worker"):
        load(PROGRAMME)(store, Settings(Path(), store.url), job, lambda *_: None, threading.Event())


def test_it_is_asked_for_once_something_runs_under_a_holdout(store: Store) -> None:
    assert ask_for_programme(store, now=NOW_US) is None  # no project yet
    holdout = {"kind": "holdout", "key": "everyone", "share": "5%"}
    define(store, holdout, metric("profit", "profit", margin={"rate": "0.4"}), experiment({"primary": ["profit"]}))
    assert ask_for_programme(store, now=NOW_US) is None
    walk(store, "winback", "review", "testing", "running", now=START_US)
    assert ask_for_programme(store, now=NOW_US) is not None
    assert ask_for_programme(store, now=NOW_US) is None
    assert queue.listed(store, kind=PROGRAMME)[0].params["metric"] == "profit"
