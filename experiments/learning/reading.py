"""Reading matured decisions out of the log into numpy, with the probabilities that they were drawn with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from experiments.learning.decided import KEPT, Decided, decided
from experiments.learning.declared import Declared
from experiments.learning.rewards import Rewards, rewards
from experiments.learning.rows import LearningRows
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables

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
    rows = _columns(matured, ("d", "decision_id", "u", "at", "variant", "propensity", "frozen", "policy", "phase"))
    left_out = {reason: n for reason, n in sorted(status.items()) if reason != KEPT}
    return _assemble(rows, declared, earned, until, left_out, immature=status.get(KEPT, 0) - len(rows["d"]))


def _by_status(found: Decided, since: int | None) -> Any:
    rows = found.table if since is None else found.table.filter(found.table["at"] >= since)
    return rows.group_by("status").aggregate(n=rows.count())


def _columns(table: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns of a table, in order of its decisions, as lists."""
    ordered = table.order_by("d").select(*names)
    connection = ordered.get_backend()
    if connection.name != "duckdb":
        found: dict[str, list[Any]] = ordered.to_pyarrow().to_pydict()
        return found
    rows = connection.raw_sql(connection.compile(ordered)).fetchall()
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _assemble(
    read: Mapping[str, list[Any]],
    declared: Declared,
    earned: Rewards,
    until: int,
    left_out: dict[str, int],
    *,
    immature: int,
) -> LearningRows:
    variants = declared.variants
    index = {key: k for k, key in enumerate(variants)}
    n, count = len(read["d"]), len(variants)
    variant = np.fromiter((index[key] for key in read["variant"]), dtype=np.intp, count=n)
    propensity = np.array(read["propensity"], dtype=np.float64)
    version, group = np.zeros(n, dtype=np.int64), np.full(n, "hash", dtype=object)
    eligible, p = np.zeros((n, count), dtype=np.bool_), np.zeros((n, count))
    splits = {phase.number: _split(phase.weights, variants) for phase in declared.record.phases}
    even = np.full(count, 1 / count)
    for row, text in enumerate(read["policy"]):
        if text is None:
            p[row] = splits.get(read["phase"][row], even)
            eligible[row] = p[row] > 0
            continue
        try:
            drawn = _drawn.decode(text)
        except msgspec.DecodeError:  # it stays without probabilities, and is left out for it
            continue
        version[row], group[row] = drawn.version, drawn.group
        for key, probability in zip(drawn.eligible, drawn.p, strict=False):
            if key in index:
                eligible[row, index[key]], p[row, index[key]] = True, probability
        if not drawn.eligible:  # nobody was eligible: control, for sure
            eligible[row, variant[row]], p[row, variant[row]] = True, 1.0
    sums = np.zeros((n, len(declared.parts)))
    for row, number in enumerate(read["d"]):
        if number in earned.sums:
            sums[row] = earned.sums[number]
    converted, amount = _amounts(sums, variant, declared, earned)
    at_hand = np.abs(p[np.arange(n), variant] - propensity) <= SAME
    if not at_hand.all():
        left_out = dict(sorted({**left_out, "propensity_differs": int((~at_hand).sum())}.items()))
    rows = LearningRows(
        variants=variants,
        until=until,
        decision_id=np.array(read["decision_id"], dtype=object),
        unit=np.array(read["u"], dtype=np.intp),
        at=np.array(read["at"], dtype=np.int64),
        version=version,
        group=group,
        variant=variant,
        eligible=eligible,
        p=p,
        propensity=propensity,
        columns=_attributes(read["frozen"], declared),
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


def _attributes(frozen: Sequence[str], declared: Declared) -> dict[str, npt.NDArray[np.object_]]:
    """Return the frozen attributes, one array each."""
    names = declared.record.definition.frozen
    columns = {name: np.full(len(frozen), None, dtype=object) for name in names}
    for row, text in enumerate(frozen):
        if text == "{}":
            continue
        known = _frozen.decode(text)
        for name, column in columns.items():
            column[row] = known.get(name)
    return columns
