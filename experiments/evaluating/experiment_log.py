"""The matured decisions of a deployment's own experiment as a log, with the versions of its policy."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from experiments.errors import InputError
from experiments.evaluating.decision_log import DecisionLog
from experiments.learning.as_drawn import Floors

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy
    from experiments.store import Store

PREFIX = "experiment:"
VERSION = "version:"


@dataclass(frozen=True)
class OwnLog:
    """An experiment's decisions, and what may be valued on them.

    Attributes:
        log: its matured decisions, by a policy, the control group and the hash.
        versions: number → policy, of the versions that were asked for.
    """

    log: DecisionLog
    versions: dict[int, Policy]


def read_experiment(store: Store, key: str, until: int, asked: tuple[str, ...] = ()) -> OwnLog:
    """Read an experiment's matured decisions and what each of them earned.

    The store's connections are closed: to be called in a process of its own.

    Args:
        store: definitions, log and policies.
        key: of the experiment.
        until: microseconds since 1970 UTC; nothing later is read.
        asked: policies to value; those of the form ``version:N`` are read.

    Raises:
        InputError: when there is no such experiment or version, or no matured decision.
    """
    from experiments.keeping.repository import Repository
    from experiments.learning import versions
    from experiments.learning.rows import matured

    record = Repository(store).experiment(key)
    numbers = [_number(each) for each in asked if each.startswith(VERSION)]
    with store.read() as connection:
        policies = {n: versions.policy(connection, versions.one(connection, key, n).sha256) for n in numbers}
    rows = matured(store, record, until)
    if not rows.n:
        raise InputError(
            f"experiment {key} has no matured decision to value a policy on; {rows.immature:,} have their window open"
        )
    allocation = record.definition.allocation
    shares = {} if allocation is None else allocation.min_share
    return OwnLog(
        log=DecisionLog(
            path=f"{PREFIX}{key}",
            format="experiment",
            variants=rows.variants,
            variant=rows.variant,
            reward=rows.reward,
            propensity=rows.propensity,
            eligible=rows.eligible,
            unit=rows.unit,
            features=dict(rows.columns),
            left_out={
                **{reason.replace("_", " "): n for reason, n in rows.left_out.items() if n},
                **({"not matured yet": rows.immature} if rows.immature else {}),
            },
            floors=None
            if allocation is None
            else Floors(
                float(Fraction(allocation.explore)),
                tuple(float(Fraction(shares.get(variant, "0"))) for variant in rows.variants),
                tuple(np.ones(len(rows.variants)).tolist()),
            ),
        ),
        versions=policies,
    )


def _number(asked: str) -> int:
    text = asked.removeprefix(VERSION)
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"--policy {asked!r}: write version:3")
    return int(text)
