"""The audience file: one row for each member, in the list's order, as CSV or Parquet."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.list_files import Format
from experiments.targeting.draft import ATTRIBUTE

COLUMNS = ("unit", "arm", ATTRIBUTE, "reason", "predicted_gain", "expected_cost", "liability", "propensity")
"""Of the file. Who gets no offer has an empty arm and offer, and no cost."""
REASONS: dict[str, str] = {
    "chosen": "The model, or a floor, gives the member this offer.",
    "explored": "Drawn at random, whatever the model says; what was drawn may be nothing.",
    "no_gain": "No offer is expected to earn anything with the member.",
    "budget": "An offer would earn something, but budget and stocks earn more with others.",
    "opted_out": "The member opted out of personalisation: no model chooses for them.",
    "holdout": "In a holdout, whose members get nothing.",
    "excluded": "On the exclusion list of the project or of the experiment.",
}
"""Why a member has what it has."""
DECIMALS = 6
AT_ONCE = 100_000


@dataclass(frozen=True, eq=False)
class Rows:
    """What the file says, a row for each member."""

    units: Sequence[str]
    arm: NDArray[Any]
    """(n,), keys; ``None`` without an offer."""
    offer: NDArray[Any]
    reason: NDArray[Any]
    gain: NDArray[np.float64]
    """(n,), what is expected beyond giving the member nothing."""
    expected_cost: NDArray[np.float64] | None
    liability: NDArray[np.float64]
    propensity: NDArray[np.float64]

    def columns(self, start: int, stop: int) -> list[list[Any]]:
        """Return some rows as columns."""
        n = len(self.units[start:stop])
        cost = [None] * n if self.expected_cost is None else _rounded(self.expected_cost[start:stop])
        return [
            list(self.units[start:stop]),
            self.arm[start:stop].tolist(),
            self.offer[start:stop].tolist(),
            self.reason[start:stop].tolist(),
            _rounded(self.gain[start:stop]),
            cost,
            _rounded(self.liability[start:stop]),
            _rounded(self.propensity[start:stop]),
        ]


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.round(values, DECIMALS) + 0.0]


def write(path: Path, file_format: Format, rows: Rows) -> tuple[int, str]:
    """Write the file; return its bytes and SHA-256.

    Args:
        path: of the new file.
        file_format: ``csv`` or ``parquet``.
        rows: what it says.
    """
    (_parquet if file_format == "parquet" else _csv)(path, rows)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return path.stat().st_size, digest


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for start in range(0, len(rows.units), AT_ONCE):
            writer.writerows(zip(*rows.columns(start, start + AT_ONCE), strict=True))


def _parquet(path: Path, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.string()] * 4 + [pa.float64()] * 4
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows.units), AT_ONCE):
            columns = rows.columns(start, start + AT_ONCE)
            writer.write_table(
                pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], schema=schema)
            )
