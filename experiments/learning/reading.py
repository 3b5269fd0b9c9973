"""Reading matured decisions out of the log into numpy, with the probabilities that they were drawn with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from experiments.learning.decided import KEPT, Decided, decided
from experiments.learning.declared import Declared
from experiments.learning.rewards import Rewards, rewards
from experiments.learning.rows import LearningRows
from experiments.sources.duck import fetch, fetch_one
from experiments.sources.log import LogTables

AT_ONCE = 20_000
"""Decisions that are taken out of the engine at once."""
SAME = 1e-9
"""How far the logged propensity may lie from the logged probability of the drawn variant."""


class Drawn(msgspec.Struct):
    """How a policy drew, as `allocation.bandits.drawing` wrote it."""

    version: int
    group: str
    eligible: list[str]
    p: list[float]


_drawn = msgspec.json.Decoder(Drawn)
_frozen = msgspec.json.Decoder(dict[str, Any])


def read_rows(log: LogTables, declared: Declared, until: int, *, since: int | None = None) -> LearningRows:
    """Return the matured decisions of an experiment, with what each of them earned.

    Args:
        log: where the rows lie.
        declared: the experiment, and what is earned.
        until: microseconds since 1970 UTC; nothing later is read. A decision is matured when its window is over then.
        since: decisions before it are not returned; outcomes are given away as if they were.
    """
    found = decided(log, declared, until)
    earned = rewards(found, declared, until)
    end_us = declared.window_us[1]
    status = {row["status"]: int(row["n"]) for row in fetch(_by_status(found, since))}
    kept = found.table.filter(found.table.status == KEPT)
    if since is not None:
        kept = kept.filter(kept["at"] >= since)
    matured = kept.filter(kept.t0 + end_us <= until)
    read = _read(matured, int(fetch_one(matured.count())), declared)
    left_out = {reason: n for reason, n in sorted(status.items()) if reason != KEPT}
    return _assemble(read, declared, earned, until, left_out, immature=status.get(KEPT, 0) - len(read.d))


def _by_status(found: Decided, since: int | None) -> Any:
    rows = found.table if since is None else found.table.filter(found.table["at"] >= since)
    return rows.group_by("status").aggregate(n=rows.count())


@dataclass(frozen=True, eq=False)
class _Read:
    """What was logged of each decision, in order of time."""

    d: npt.NDArray[np.int64]
    decision_id: npt.NDArray[np.object_]
    unit: npt.NDArray[np.intp]
    at: npt.NDArray[np.int64]
    variant: npt.NDArray[np.intp]
    propensity: npt.NDArray[np.float64]
    version: npt.NDArray[np.int64]
    group: npt.NDArray[np.object_]
    eligible: npt.NDArray[np.bool_]
    p: npt.NDArray[np.float64]
    attributes: Mapping[str, npt.NDArray[np.object_]]


def _read(table: Any, n: int, declared: Declared) -> _Read:
    """Read decisions some at a time: as text they take many times the memory that they take as numbers."""
    variants = declared.variants
    index, count = {key: k for k, key in enumerate(variants)}, len(variants)
    splits = {phase.number: _split(phase.weights, variants) for phase in declared.record.phases}
    even = np.full(count, 1 / count)
    read = _Read(
        d=np.empty(n, dtype=np.int64),
        decision_id=np.empty(n, dtype=object),
        unit=np.empty(n, dtype=np.intp),
        at=np.empty(n, dtype=np.int64),
        variant=np.empty(n, dtype=np.intp),
        propensity=np.empty(n),
        version=np.zeros(n, dtype=np.int64),
        group=np.full(n, "hash", dtype=object),
        eligible=np.zeros((n, count), dtype=np.bool_),
        p=np.zeros((n, count)),
        attributes={name: np.full(n, None, dtype=object) for name in declared.frozen},
    )
    same: dict[Any, Any] = {}  # one object for each level, however many members have it
    for row, (d, decision_id, u, at, variant, propensity, frozen, policy, phase) in enumerate(_rows(table)):
        read.d[row], read.decision_id[row], read.unit[row], read.at[row] = d, decision_id, u, at
        read.variant[row], read.propensity[row] = index[variant], propensity
        if frozen != "{}":
            known = _frozen.decode(frozen)
            for name, column in read.attributes.items():
                value = known.get(name)
                column[row] = same.setdefault(value, value) if isinstance(value, str) else value
        if policy is None:
            read.p[row] = splits.get(phase, even)
            read.eligible[row] = read.p[row] > 0
            continue
        try:
            drawn = _drawn.decode(policy)
        except msgspec.DecodeError:  # it stays without probabilities, and is left out for it
            continue
        read.version[row], read.group[row] = drawn.version, same.setdefault(drawn.group, drawn.group)
        for key, probability in zip(drawn.eligible, drawn.p, strict=False):
            if key in index:
                read.eligible[row, index[key]], read.p[row, index[key]] = True, probability
        if not drawn.eligible:  # nobody was eligible: control, for sure
            read.eligible[row, index[variant]], read.p[row, index[variant]] = True, 1.0
    return read


def _rows(table: Any) -> Iterator[Sequence[Any]]:
    """Yield rows in order of decisions."""
    names = ("d", "decision_id", "u", "at", "variant", "propensity", "frozen", "policy", "phase")
    ordered = table.order_by("d").select(*names)
    connection = ordered.get_backend()
    if connection.name != "duckdb":
        for batch in ordered.to_pyarrow_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        return
    cursor = connection.raw_sql(connection.compile(ordered))
    while some := cursor.fetchmany(AT_ONCE):
        yield from some


def _assemble(
    read: _Read, declared: Declared, earned: Rewards, until: int, left_out: dict[str, int], *, immature: int
) -> LearningRows:
    n = len(read.d)
    sums = np.zeros((n, len(declared.parts)))
    for row, number in enumerate(read.d.tolist()):
        if number in earned.sums:
            sums[row] = earned.sums[number]
    converted, amount = _amounts(sums, read.variant, declared, earned)
    at_hand = np.abs(read.p[np.arange(n), read.variant] - read.propensity) <= SAME
    if not at_hand.all():
        left_out = dict(sorted({**left_out, "propensity_differs": int((~at_hand).sum())}.items()))
    rows = LearningRows(
        variants=declared.variants,
        until=until,
        decision_id=read.decision_id,
        unit=read.unit,
        at=read.at,
        version=read.version,
        group=read.group,
        variant=read.variant,
        eligible=read.eligible,
        p=read.p,
        propensity=read.propensity,
        columns=read.attributes,
        converted=converted,
        amount=amount,
        contact=np.array(declared.contact, dtype=np.float64),
        immature=immature,
        left_out=left_out,
        outcomes=earned.outcomes,
        overlaps=earned.overlaps,
        last_event=earned.last_event,
    )
    return rows if at_hand.all() else rows.take(at_hand)


def _amounts(
    sums: npt.NDArray[np.float64], variant: npt.NDArray[np.intp], declared: Declared, earned: Rewards
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return whether each decision converted, and what it earned before contact costs, in major units.

    Where nobody reports redemptions, a conversion that has a worth is taken to redeem its offer.
    """
    if declared.is_yes_or_no:
        converted = sums[:, 0] > 0
        if declared.worth is None:
            return converted, converted.astype(np.float64)
        if earned.redemptions:
            return converted, np.where(converted, declared.worth, 0.0) + sums[:, 1] / declared.unit
        left = declared.worth - np.array([declared.redemption(key) for key in declared.variants])
        return converted, np.where(converted, left[variant], 0.0)
    amount = sums[:, 0] / declared.unit
    if declared.metric.winsorise is not None and len(amount):
        amount = np.minimum(amount, np.quantile(amount, declared.metric.winsorise))
    return amount != 0, amount


def _split(weights: Mapping[str, int], variants: Sequence[str]) -> npt.NDArray[np.float64]:
    parts = np.array([weights.get(key, 0) for key in variants], dtype=np.float64)
    share: npt.NDArray[np.float64] = parts / parts.sum()
    return share
