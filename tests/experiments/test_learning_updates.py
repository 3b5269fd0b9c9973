"""Updates of policies on real stores: a function of the rows, kept as a whole or not at all, on their turns."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from experiments.errors import InputError
from experiments.jobs import queue, running
from experiments.jobs.queue import Job
from experiments.jobs.runner import Pace, start
from experiments.keeping import audit
from experiments.keeping.repository import Repository
from experiments.learning import cadence, versions
from experiments.learning.handler import read, update
from experiments.learning.updating import Learned, Stands, keep, learn
from experiments.log.rows import DecisionRow, EventRow
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.store.policy_tables import policies, policy_files
from tests.experiments.learning_shop import KEY, VARIANTS, allocation, bandit, days, drawn, shop
from tests.experiments.measuring import NOW_US, START_US, happened, record
from tests.experiments.small_shop import walk

BEST = {"new": "save", "old": "control"}
LONG = {"window_days": 3650, "min_rows": 50}
HOUR = cadence.HOUR_US


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    """A fresh embedded store, for what does not depend on the database."""
    opened = open_store(f"sqlite:///{tmp_path / 'local.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def happening(number: int, seed: int = 1, *, key: str = KEY, hashed: bool = False) -> list[DecisionRow | EventRow]:
    """Decisions drawn evenly and what follows: the new like the coupon, the old need none."""
    chance = random.Random(seed)
    rows: list[DecisionRow | EventRow] = []
    for i in range(number):
        unit, stage, variant = f"m-{key}-{seed}-{i}", chance.choice(["new", "old"]), chance.choice(VARIANTS)
        at = START_US + days(chance.uniform(0, 10))
        group = "uniform" if chance.random() < 0.1 else "policy"
        more: dict[str, Any] = {"policy": None} if hashed else {}
        frozen = {"stage": stage, "orders": chance.randrange(5)}
        rows.append(drawn(unit, variant, at, group=group, key=key, frozen=frozen, **more))
        if chance.random() < (0.5 if BEST[stage] == variant else 0.1):
            rows.append(happened("Order Completed", unit, at + days(1), 20_000, object_id=f"{key}-{seed}-{i}"))
    return rows


def made(store: Store, *, until: int = NOW_US, **more: Any) -> Learned:
    known = read(store, Repository(store).experiment(KEY), until)
    return learn(known.rows, known.declared, more.pop("stands", Stands()), until, warm=known.warm, **more)


def kept(store: Store, learned: Learned) -> int | None:
    with store.begin() as connection:
        return keep(connection, learned, "ann")


def listed(store: Store) -> list[versions.Version]:
    with store.read() as connection:
        return versions.read(connection, KEY)


def a_job(store: Store, job_id: str = "learn-1", **params: Any) -> Job:
    with store.begin() as connection:
        queue.enqueue(connection, job_id, "learn", params, created_by="ann", experiment=KEY)
    job = queue.claim(store, "here", ["learn"])
    assert job is not None
    return job


def test_a_version_learns_who_should_get_what_and_says_from_what(store: Store) -> None:
    shop(store, bandit())
    rows = happening(800)
    record(store, rows)
    mine = sum('"group": "policy"' in (row.policy or "") for row in rows if isinstance(row, DecisionRow))
    learned = made(store)
    assert learned.why is None
    assert kept(store, learned) == 1
    (version,) = listed(store)
    assert (version.state, version.policy, version.origin, version.rows) == ("candidate", "igw", "learned", mine)
    assert (
        sum(version.about["rows_by_variant"].values()) == mine < 800
    )  # those of the control group are not learned from
    assert version.about["settings"]["model"] == "hurdle"
    assert version.about["settings"]["contact"] == [0.0, 0.5, 0.5]
    with store.read() as connection:
        policy = versions.policy(connection, version.sha256)
    for stage, variant in BEST.items():
        chances = policy.probabilities(policy.encode({"stage": stage, "orders": 2}), [0, 1, 2])
        assert VARIANTS[int(np.argmax(chances))] == variant
    last = audit.rows(store, "experiment", KEY)[-1]
    assert (last.action, last.actor) == ("policy_learned", "ann")


def test_a_version_is_a_function_of_the_rows_whatever_their_order(local: Store, tmp_path: Path) -> None:
    rows = happening(400)
    refunds = [
        happened("Order Refunded", row.unit, row.at + days(5), 9_000, object_id=row.object_id)
        for row in rows[::3]
        if isinstance(row, EventRow)
    ]
    shop(local, bandit())
    record(local, rows)
    early = made(local)
    record(local, refunds)
    other = open_store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    upgrade(other)
    shop(other, bandit())
    backwards = [*refunds, *rows][::-1]
    for begin in range(0, len(backwards), 100):
        record(other, backwards[begin : begin + 100])
    salt = Repository(local).experiment(KEY).salt
    with other.begin() as connection:  # the salt names the seed of frozen draws: another experiment, another seed
        connection.execute(sa.text("UPDATE definition_heads SET salt = :salt WHERE key = 'winback'"), {"salt": salt})
    one, two = made(local), made(other)
    other.close()
    assert one.new is not None
    assert two.new is not None
    assert one.new.about["rows_sha256"] == two.new.about["rows_sha256"]
    assert one.new.body == two.new.body
    assert early.new is not None
    assert early.new.about["rows_sha256"] != one.new.about["rows_sha256"]  # late refunds revise what was earned
    assert early.new.rows == one.new.rows


def test_nothing_is_made_before_there_is_enough(local: Store) -> None:
    shop(local, bandit(allocation=allocation(update={"min_rows": 100})))
    record(local, [row for row in happening(300) if getattr(row, "variant", "") != "gift"])
    early = made(local)
    assert (early.new, early.why, early.detail) == (
        None, "too_few_by_variant", {"rows": {"gift": 0}, "needed": 20},
    )  # fmt: skip
    assert made(local, stands=Stands(masked=("gift",))).why is None  # taken out, it holds nothing up
    record(local, happening(300, seed=2))
    known = read(local, Repository(local).experiment(KEY), NOW_US)

    def now(*, force: bool = False) -> Learned:
        return learn(known.rows, known.declared, Stands(tuple(listed(local))), NOW_US, force=force)

    assert kept(local, now()) == 1
    again = now()
    assert (again.why, again.detail) == ("too_few_rows", {"rows": 0, "needed": 100})
    assert now(force=True).why is None
    with local.begin() as connection:
        versions.move(connection, KEY, 1, "ramping", share="0.1", now=NOW_US)
    while_ramping = now()
    assert (while_ramping.why, while_ramping.detail) == ("ramping", {"ramping": 1})


def test_of_two_updates_at_once_one_is_kept(store: Store) -> None:
    shop(store, bandit())
    record(store, happening(400))
    one, two = made(store), made(store)
    assert (kept(store, one), kept(store, two)) == (1, None)
    assert len(listed(store)) == 1


def test_a_finished_test_gives_a_warm_start(local: Store) -> None:
    earlier = bandit("ab")
    del earlier["allocation"]
    shop(local, earlier | {"breakdowns": ["stage"]}, bandit(allocation=allocation(warm_start="ab", update=LONG)))
    for row in (rows := happening(400, key="ab", hashed=True)):
        if isinstance(row, DecisionRow):
            rows[rows.index(row)] = replace_frozen(row)
    record(local, rows)
    running_still = read(local, Repository(local).experiment(KEY), NOW_US)
    assert running_still.warm is None
    assert running_still.not_warm == "ab is running: it is learned from when it has ended"
    walk(local, "ab", "ended")
    learned = made(local)
    assert learned.new is not None
    assert learned.new.about["warm_rows"] == learned.new.rows == 400
    record(local, happening(100))
    learned = made(local)
    assert learned.new is not None
    assert learned.new.rows == sum(learned.new.about["rows_by_variant"].values())
    assert learned.new.rows - learned.new.about["warm_rows"] > 80
    assert learned.policy is not None
    chances = learned.policy.probabilities(learned.policy.encode({"stage": "new", "orders": 1}), [0, 1, 2])
    assert int(np.argmax(chances)) == VARIANTS.index("save")


def test_what_an_earlier_conversion_is_worth_is_what_it_is_worth_now(local: Store) -> None:
    earlier = bandit("ab", primary="buys")
    del earlier["allocation"]
    declared = allocation(reward={"worth": "60", "attribution": "all"}, warm_start="ab", update=LONG)
    shop(local, earlier, bandit(primary="buys", allocation=declared))
    record(local, happening(200, key="ab", hashed=True))
    walk(local, "ab", "ended")
    known = read(local, Repository(local).experiment(KEY), NOW_US)
    assert known.warm is not None
    assert set(np.unique(known.warm.amount).tolist()) == {0.0, 40.0, 52.0, 60.0}  # less what each offer costs


def replace_frozen(row: DecisionRow) -> DecisionRow:
    """The earlier experiment froze no number of orders."""
    import json

    import msgspec

    return msgspec.structs.replace(row, frozen=json.dumps({"stage": json.loads(row.frozen)["stage"]}))


def test_worth_is_what_conversions_earned_drawn_to_what_was_known(local: Store) -> None:
    shop(local, bandit(primary="buys", allocation=allocation(reward={"worth": "60"}, update=LONG)))
    record(local, happening(400))
    learned = made(local)
    assert learned.settings.model == "logistic"
    assert learned.settings.worth == (60.0, 40.0, 52.0)  # nobody reports redemptions: each order redeems
    converted = [row.unit for row in happening(400) if isinstance(row, EventRow)]
    given = {
        row.unit: row.variant
        for row in happening(400)
        if isinstance(row, DecisionRow) and "policy" in (row.policy or "")
    }
    redeemed = [unit for unit in converted if given.get(unit) == "save"][::2]
    record(local, [happened("Coupon Redeemed", unit, START_US + days(12)) for unit in redeemed])
    worth = made(local).settings.worth
    assert worth is not None
    assert 40 < worth[1] < 60
    assert worth[2] > 52


# as a job -----------------------------------------------------------------------------------------------------------


def test_the_job_makes_a_version_once_and_judges_it(store: Store, tmp_path: Path) -> None:
    shop(store, bandit(allocation=allocation(update=LONG)))
    record(store, happening(900))
    job = a_job(store)
    settings, stop = Settings(tmp_path, store.url), threading.Event()
    first = update(store, settings, job, lambda *_: None, stop)
    assert (first["version"], first["why"]) == (1, None)
    (version,) = listed(store)
    assert version.state == first["state"] != "candidate"
    assert version.gate
    again = update(store, settings, job, lambda *_: None, stop)  # as after a kill behind the transaction
    assert again["version"] == 1
    assert len(listed(store)) == 1
    nothing_new = update(store, settings, replace(job, id="learn-2"), lambda *_: None, stop)
    assert nothing_new["version"] is None
    assert nothing_new["why"] in {"too_few_rows", "ramping"}


def test_a_job_that_cannot_be_done_says_why(local: Store, tmp_path: Path) -> None:
    hashed = bandit(primary="buys")
    del hashed["allocation"]
    shop(local, hashed)
    job = a_job(local)
    with pytest.raises(InputError, match="winback has no policy that learns"):
        update(local, Settings(tmp_path, local.url), job, lambda *_: None, threading.Event())


def test_an_ended_experiment_learns_no_more(local: Store, tmp_path: Path) -> None:
    shop(local, bandit())
    walk(local, KEY, "ended")
    came_to = update(local, Settings(tmp_path, local.url), a_job(local), lambda *_: None, threading.Event())
    assert (came_to["version"], came_to["why"]) == (None, "not_running")


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_leaves_no_half_version(store: Store, tmp_path: Path) -> None:
    shop(store, bandit(allocation=allocation(update=LONG)))
    record(store, happening(3_000))
    settings, stop = Settings(tmp_path, store.url), threading.Event()
    killed = 0
    for attempt in range(14):
        with store.begin() as connection:
            connection.execute(sa.text("UPDATE jobs SET attempts = 0, not_before = 0 WHERE state = 'queued'"))
        job = a_job(store) if not attempt else queue.claim(store, "here", ["learn"])
        assert job is not None
        ended: list[str] = []
        worker = threading.Thread(target=lambda job=job, ended=ended: ended.append(
            running.run(store, settings, job, stop, beat_s=0.1)))  # fmt: skip
        worker.start()
        time.sleep(1.4**attempt)  # later and later, until it is done before
        for child in multiprocessing.active_children():
            if child.name == "equipoise-job" and child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
        worker.join(60)
        there = listed(store)
        with store.read() as connection:
            files = connection.scalar(sa.select(sa.func.count()).select_from(policy_files))
            assert files == len(there) <= 1
            assert all(versions.policy(connection, each.sha256).variants == VARIANTS for each in there)
        if ended == ["done"]:
            break
    else:
        with store.begin() as connection:
            connection.execute(sa.text("UPDATE jobs SET attempts = 0, not_before = 0 WHERE state = 'queued'"))
        job = queue.claim(store, "here", ["learn"])
        assert job is not None
        assert running.run(store, settings, job, stop) == "done"
    assert killed
    (version,) = listed(store)
    assert version.state != "candidate"
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(policies)) == 1


# on their turns -----------------------------------------------------------------------------------------------------


def test_each_turn_asks_once_and_only_while_it_runs(store: Store) -> None:
    hashed = bandit("ab")
    del hashed["allocation"]
    even = bandit("even", allocation={"policy": "uniform"})
    shop(store, bandit(), hashed, even, bandit("warm", allocation=allocation(warm_start="ab")))
    assert cadence.ask_for_updates(store, now=START_US + HOUR) == ["learn-warm-0"]
    assert cadence.ask_for_updates(store, now=START_US + 2 * HOUR) == []
    assert cadence.ask_for_updates(store, now=START_US + 25 * HOUR) == ["learn-warm-1", f"learn-{KEY}-1"]
    assert cadence.ask_for_updates(store, now=START_US + 100 * HOUR) == ["learn-warm-4", f"learn-{KEY}-4"]
    walk(store, KEY, "paused", "ended")
    walk(store, "warm", "paused")
    assert cadence.ask_for_updates(store, now=START_US + 125 * HOUR) == ["learn-warm-5"]
    with store.begin() as connection:
        asked = cadence.ask_for_update(connection, Repository(store).experiment("warm"), "ann")
    job = queue.get(store, asked)
    assert (job.kind, job.experiment, job.params, job.created_by) == ("learn", "warm", {"force": True}, "ann")


@pytest.mark.slow
def test_a_worker_learns_when_a_turn_has_come_and_ramps_what_passes(store: Store, tmp_path: Path) -> None:
    terms = {"update": LONG | {"every_hours": 1}, "gate": {"ramp": ["0.5", "1"], "ramp_hours": 0}}
    shop(store, bandit(allocation=allocation(**terms)))
    record(store, happening(900))
    pace = Pace(poll_s=0.2, round_s=3600, first_s=0, policies_s=0.5)
    runner = start(Settings(tmp_path, store.url), pace=pace)
    try:
        deadline = time.monotonic() + 90
        while not (there := listed(store)) or there[0].state != "live":
            assert time.monotonic() < deadline, [(each.state, each.gate) for each in there]
            time.sleep(0.2)
    finally:
        runner.stop()
    (job,) = queue.listed(store, kind="learn")
    assert (job.state, job.created_by) == ("done", "schedule")
    assert job.result is not None
    assert job.result["version"] == 1
    done = [row.action for row in audit.rows(store, "experiment", KEY)][-4:]
    assert done == ["policy_learned", "policy_passed", "policy_ramped", "policy_live"]
