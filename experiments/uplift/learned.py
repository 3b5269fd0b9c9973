"""What a recommendation learns from: units that were given an arm at random, what was known of them, what came of it.

Rows come from an experiment's log or from a file; everything after reads them here in the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stats.uplift.encoding import Encoder
from stats.uplift.prices import Prices
from stats.uplift.trial import FloatArray, Trial

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.report.document import Text
    from experiments.report.inputs import Declared
    from experiments.sources.log import LogTables
    from experiments.uplift.options import FileOptions, Wanted

Column = NDArray[Any]
"""(n,), floats (NaN is missing) for a number, objects (text or None) for levels."""


@dataclass(frozen=True, eq=False)
class Learned:
    """The rows of a randomised experiment, and how its outcomes become money."""

    trial: Trial
    columns: Mapping[str, Column]
    """Attribute → its values, as ``encoder`` takes them; in this order."""
    encoder: Encoder
    """Fitted on ``columns``: ``learned.encoder.transform(columns)`` are the features of other units too."""
    prices: Prices
    """Money in major units of ``currency``."""
    arms: tuple[str, ...]
    """Keys, control first."""
    units: NDArray[Any]
    """(n,), ids; numbers of rows where a file names none."""
    outcome: str
    """Key of the metric, or name of the column."""
    currency: str | None = None
    """``None`` where nothing says what an outcome is worth: money is the outcome itself then."""
    redemptions: FloatArray | None = None
    """(n,), how often each unit redeemed, where that is known."""
    earned: FloatArray | None = None
    """(n,), what each unit earned net of all costs, where the log says so; policies are valued in it."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Units by arm, before any were left out for an outcome that is missing or not final."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Intended split."""
    logged: bool = False
    """Whether the propensities come from a log of assignments."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason → units."""
    facts: tuple[str, ...] = ()
    """Which of ``columns`` are what units ordered before their decision (see `experiments.uplift.order_facts`)."""
    rfm: tuple[FloatArray, FloatArray, FloatArray] | None = None
    """Recency (days), frequency, monetary value, where they are known."""
    data_until: int | None = None
    """Microseconds since 1970 UTC; nothing later was read."""
    outcome_label: Text = field(default_factory=dict)
    labels: Mapping[str, Text] = field(default_factory=dict)
    """Attribute → its name for people."""
    redemption_by_level: Mapping[str, FloatArray] = field(default_factory=dict)
    """Level by which units have a discount anyway (``""``: none) → (K + 1,), what a redemption of each arm's offer
    costs with them; empty where units have no such discount."""
    redemption: FloatArray | None = None
    """(n, K + 1), the same for each unit by its own level; ``None`` where units have no such discount."""
    assumed: tuple[str, ...] = ()
    """What prices rest on beside measured figures: ``every_buyer_redeems`` | ``given_share`` | ``given_value``."""

    @property
    def share_left(self) -> float:
        """Share of all units that are learned from."""
        total = sum(self.counts.values())
        return self.trial.rows / total if total else 1.0


def assemble(
    outcome: FloatArray, arm: NDArray[np.intp], propensity: FloatArray, columns: Mapping[str, Column]
) -> tuple[Trial, Encoder]:
    """Return the rows as models take them, and the encoder of their attributes."""
    encoder = Encoder.fit(columns)
    return Trial(outcome, arm, encoder.transform(columns), propensity), encoder


def rows_of_experiment(log: LogTables, declared: Declared, now_us: int, wanted: Wanted | None = None) -> Learned:
    """Read what an experiment's recommendation learns from.

    Args:
        log: where the rows lie.
        declared: the experiment, as its report declares it (`experiments.report.build.declared_of`).
        now_us: microseconds since 1970 UTC; nothing later is read, and only units whose window is over then count.
        wanted: phase, outcome and value, where not the usual ones.

    Raises:
        InputError: when nothing can be learned from it, and why.
    """
    from experiments.uplift.from_log import read_experiment
    from experiments.uplift.options import Wanted as Usual

    return read_experiment(log, declared, now_us, wanted or Usual())


def rows_of_file(path: str | Path, options: FileOptions) -> Learned:
    """Read what is learned from a file with one row per unit.

    Args:
        path: CSV (plain or gzip; UTF-8, GB18030, UTF-16) or Parquet.
        options: which columns hold what, and prices.

    Raises:
        InputError: when the file or an option cannot be used.
    """
    from experiments.uplift.from_file import read_rows

    return read_rows(path, options)
