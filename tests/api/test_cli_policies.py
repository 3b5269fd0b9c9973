"""``equipoise policies``: what is listed, done and refused, in a process's own words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy, to_bytes
from api.cli import cli
from experiments.learning import versions
from experiments.learning.versions import NewVersion
from experiments.publishing.snapshot_file import SnapshotFile
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.learning_shop import KEY, VARIANTS, bandit, days, drawn, shop
from tests.experiments.measuring import START_US, happened
from tests.experiments.measuring import record as put

ENCODER = Encoder((FeatureCode("stage", "categorical", levels=("new",)),))


def policy(best: int = 1) -> Policy:
    coef = np.zeros((3, len(ENCODER.columns)))
    coef[best, 0] = 1.0
    return Policy(
        variants=VARIANTS, kind="contextual", rule="igw", encoder=ENCODER, model="linear", coef=coef,
        effective_rows=1000.0,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(Settings.from_env(data=str(tmp_path), database=None).database_url)
    upgrade(opened)
    shop(opened, bandit(primary="buys"))
    yield opened
    opened.close()


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--data", str(tmp_path), "policies", *arguments])


def candidate(store: Store, best: int = 1) -> None:
    with store.begin() as connection:
        about = {"rows_by_variant": dict.fromkeys(VARIANTS, 99)}
        versions.insert(
            connection, NewVersion(KEY, to_bytes(policy(best)), "igw", START_US, START_US, 297, about=about)
        )


def test_a_version_is_listed_approved_published_and_rolled_back(store: Store, tmp_path: Path) -> None:
    assert "has learned nothing yet" in run(tmp_path, "list", KEY).output
    candidate(store)
    listed = run(tmp_path, "list", KEY).output
    assert "candidate" in listed
    assert "297" in listed
    told = run(tmp_path, "approve", KEY, "1", "--actor", "ann")
    assert told.output == f"version 1 of {KEY} is ramping: it draws for a share of 0.1 of the members\n"
    published = SnapshotFile(tmp_path / "snapshots").load().experiments[KEY].plan.bandit
    assert published is not None
    assert [(each.version, each.share) for each in published.policies] == [(1, "0.1")]
    assert "as likely as the others" in run(tmp_path, "roll-back", KEY, "--reason", "no").output
    assert "gate: has not run" in run(tmp_path, "show", KEY).output
    document = json.loads(run(tmp_path, "show", KEY, "1", "--output", "json").output)
    assert (document["state"], document["about"]["rows_by_variant"]["gift"]) == ("rolled_back", 99)


def test_variants_are_taken_out_and_put_back(store: Store, tmp_path: Path) -> None:
    assert run(tmp_path, "mask", KEY, "gift", "--reason", "sold out").output == f"taken out of {KEY}: gift\n"
    assert "gift is taken out since" in run(tmp_path, "list", KEY).output
    assert json.loads(run(tmp_path, "list", KEY, "--output", "json").output)["masked"][0]["reason"] == "sold out"
    assert run(tmp_path, "unmask", KEY, "gift").output.startswith("gift can be drawn again")
    assert store is not None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("approve", KEY, "3"), f"equipoise: experiment {KEY} has no policy version 3; it has learned none yet"),
        (("roll-back", KEY), f"equipoise: no policy version of {KEY} draws: there is nothing to roll back"),
        (("mask", KEY, "b"), f'equipoise: experiment {KEY} has no variant "b"; use one of control, save, gift'),
        (("import", KEY, "x.txt", "--arm", "1"), 'equipoise: --arm "1" is not ARM=VARIANT, such as --arm 1=coupon'),
    ],
)
def test_what_cannot_be_done_is_one_line(store: Store, tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    file = tmp_path / "x.txt"
    file.write_text("not a policy")
    result = run(tmp_path, *(str(file) if each == "x.txt" else each for each in arguments))
    assert (result.exit_code, result.stderr.strip()) == (2, line)
    assert store is not None


def test_a_policys_file_and_json_of_mabwiser_are_brought_in(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "policy.npz"
    file.write_bytes(to_bytes(policy(2)))
    assert run(tmp_path, "import", KEY, str(file)).output == f"policy.npz is version 1 of {KEY}, a candidate\n"
    other = tmp_path / "other.npz"
    other.write_bytes(to_bytes(Policy(variants=("control", "b"))))
    refused = run(tmp_path, "import", KEY, str(other))
    assert (refused.exit_code, "b is no variant of" in refused.stderr) == (2, True)
    text = tmp_path / "mab.json"
    text.write_text("{}")
    assert run(tmp_path, "import", KEY, str(text)).exit_code == 2
    with store.read() as connection:
        assert [version.origin for version in versions.read(connection, KEY)] == ["learned"]


def test_learning_here_makes_a_version_and_runs_the_gate(store: Store, tmp_path: Path) -> None:
    rows: list[object] = []
    start = time.time_ns() // 1000 - days(40)  # learned from are the last 180 days
    for number in range(1500):
        unit, variant = f"m{number}", VARIANTS[number % 3]
        rows.append(drawn(unit, variant, start + number, frozen={"stage": "new", "orders": number % 5}))
        if number % (4 if variant == "save" else 17) == 1:
            rows.append(happened("Order Completed", unit, start + days(1), 20_000, object_id=str(number)))
    put(store, rows)  # type: ignore[arg-type]
    told = run(tmp_path, "learn", KEY, "--here", "--output", "json")
    result = json.loads(told.output)
    assert (result["version"], result["state"], result["read"]) == (1, "ramping", 1500)
    shown = run(tmp_path, "show", KEY).output
    assert "gate: passed, compared with an even draw" in shown
    assert "1,500 decisions" in shown
    queued = run(tmp_path, "learn", KEY)
    assert "is in the queue" in queued.output
