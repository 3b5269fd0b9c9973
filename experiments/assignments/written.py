"""The file that goes out: one row for each row of the list, in its order, as CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from allocation.plan import ExperimentPlan

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("unit", "variant", "offer", "decision_id", "reason", "holdout")
"""Of a CSV; Parquet has ``offer_json`` too. What is not there is empty."""


class AnswerRow(msgspec.Struct, frozen=True, gc=False):
    """What one row of the list is told."""

    unit: str | None
    variant: str | None
    offer: str | None
    """The offer's key."""
    decision_id: str | None
    reason: str
    holdout: str | None = None


Write = Callable[[Sequence[AnswerRow]], None]


Given = dict[tuple[str, str | None], dict[str, Any]]
"""(variant, key of the offer) → offer."""


def offers_given(plan: ExperimentPlan) -> Given:
    """Return all offers that an experiment's variants may give.

    >>> from allocation.plan import PhasePlan, VariantPlan
    >>> own = VariantPlan("policy", offer_by="best", offers={"a": {"key": "a"}})
    >>> offers_given(ExperimentPlan("x", 1, "running", (VariantPlan("control"), own), (PhasePlan(1, "c0", (1, 1)),)))
    {('policy', 'a'): {'key': 'a'}}
    """
    given: Given = {}
    for variant in plan.variants:
        offers = variant.offers.values() if variant.offer is None else (variant.offer,)
        given |= {(variant.key, offer.get("key")): dict(offer) for offer in offers}
    return given


@contextlib.contextmanager
def writing(path: Path, file_format: str, offers: Given) -> Iterator[Write]:
    """Open a file for answers.

    Args:
        path: of the new file.
        file_format: ``csv`` or ``parquet``.
        offers: what variants give, for Parquet's ``offer_json``.
    """
    writer = _parquet(path, offers) if file_format == "parquet" else _csv(path)
    with writer as write:
        yield write


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)

        def write(rows: Sequence[AnswerRow]) -> None:
            writer.writerows(map(msgspec.structs.astuple, rows))

        yield write


@contextlib.contextmanager
def _parquet(path: Path, offers: Given) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {given: msgspec.json.encode(offer, order="sorted").decode() for given, offer in offers.items()}
    schema = pa.schema([(name, pa.string()) for name in (*COLUMNS, "offer_json")])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write(rows: Sequence[AnswerRow]) -> None:
            columns: list[Any] = [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]
            columns.append([None if row.variant is None else texts.get((row.variant, row.offer)) for row in rows])
            writer.write_table(_table(columns, schema))

        yield write


def _table(columns: list[Any], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.table([pa.array(column, pa.string()) for column in columns], schema=schema)
