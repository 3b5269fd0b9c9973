"""Valuing versions of a policy on the decisions of a deployment's own experiment, on both databases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy, to_bytes
from api.cli import cli
from experiments.errors import InputError
from experiments.evaluating.evaluation import evaluate
from experiments.evaluating.experiment_log import read_experiment
from experiments.evaluating.targets import make_target
from experiments.learning import versions
from experiments.store import Store
from tests.experiments.learning_shop import KEY, VARIANTS, bandit, days, drawn, shop
from tests.experiments.measuring import NOW_US, START_US, happened, record

MEMBERS = 900


def fill(store: Store) -> int:
    """Members of two stages are drawn evenly; a gift brings orders from new ones only. Return the version's number."""
    shop(store, bandit())
    rng = np.random.default_rng(6)
    made, events = [], []
    for member in range(MEMBERS):
        variant, stage = VARIANTS[int(rng.integers(3))], ("new", "old")[int(rng.integers(2))]
        at = START_US + member
        made.append(drawn(f"m-{member}", variant, at, frozen={"stage": stage, "orders": 1}))
        if rng.random() < (0.6 if (variant, stage) == ("gift", "new") else 0.2):
            events.append(happened("Order Completed", f"m-{member}", at + days(1), 20_000, object_id=str(member)))
    made.append(drawn("m-late", "gift", NOW_US - 1))
    record(store, [*made, *events])
    encoder = Encoder((FeatureCode("stage", "categorical", levels=("new", "old")),))
    policy = Policy(
        variants=VARIANTS,
        kind="contextual",
        rule="greedy",
        encoder=encoder,
        #               1  missing  rare  new  old
        coef=np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=float),
    )
    with store.begin() as connection:
        return versions.insert(connection, versions.NewVersion(KEY, to_bytes(policy), "igw", START_US, START_US, 100))


def test_a_version_is_valued_on_the_experiments_own_decisions(store: Store) -> None:
    number = fill(store)
    asked = (f"version:{number}", "uniform", "variant:gift")
    own = read_experiment(store, KEY, NOW_US, asked)
    assert (own.log.n, own.log.variants, own.log.left_out) == (MEMBERS, VARIANTS, {"not matured yet": 1})
    done = evaluate(own.log, [make_target(own.log, each, versions=own.versions) for each in asked])
    version, uniform, _ = done.policies
    # Orders earn ¥80 of margin, less ¥8 for a gift or ¥20 for the coupon, and a message costs ¥0.50.
    new, old = (0.2 * 80, 0.2 * 60 - 0.5, 0.6 * 72 - 0.5), (0.2 * 80, 0.2 * 60 - 0.5, 0.2 * 72 - 0.5)
    even = (sum(new) + sum(old)) / 6
    truth = {"version": 0.98 * (new[2] + old[0]) / 2 + 0.02 * even, "uniform": even, "gift": (new[2] + old[2]) / 2}
    for name, one in zip(truth, done.policies, strict=True):
        found = one.estimates["dr"]
        assert abs(found.value - truth[name]) < 3.3 * found.std_error, name
    assert version.shown == "better"
    assert uniform.estimates["ips"].value == pytest.approx(own.log.reward.mean())
    # As the service draws: 2 % spread over three.
    weight = make_target(own.log, asked[0], versions=own.versions).probabilities
    assert np.unique(weight.round(12)).tolist() == pytest.approx([0.02 / 3, 0.98 + 0.02 / 3])


def test_the_command_reads_the_deployment(store: Store) -> None:
    number = fill(store)
    arguments = ["--database", store.url, "replay", f"experiment:{KEY}", "--policy"]
    ran = CliRunner().invoke(cli, [*arguments, f"version:{number}", "--output", "json"])
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.output)
    assert document["log"]["decisions"] == MEMBERS + 1  # by now the last window is over, too
    assert document["policies"][0]["difference"]["shown"] == "better"
    for asked, words in {
        "version:9": "has no policy version 9",
        "version:x": "write version:3",
    }.items():
        failed = CliRunner().invoke(cli, [*arguments, asked])
        assert failed.exit_code == 2
        assert words in failed.output
    named = CliRunner().invoke(cli, [*arguments, "uniform", "--reward", "profit"])
    assert (named.exit_code, "no columns to name" in named.output) == (2, True)


def test_what_is_not_there_is_said(store: Store) -> None:
    shop(store, bandit())
    with pytest.raises(InputError, match="no matured decision"):
        read_experiment(store, KEY, NOW_US)
    with pytest.raises(InputError, match="winbakc"):
        read_experiment(store, "winbakc", NOW_US)
