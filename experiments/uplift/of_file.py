"""The recommendation from a file, and each row's predicted gain beside it."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from pathlib import Path

from experiments.atomic import replacing
from experiments.errors import InputError
from experiments.sources.file import printable
from experiments.uplift.learned import Learned, rows_of_file
from experiments.uplift.options import FileOptions
from experiments.uplift.recommendation import About, Written, write_recommendation

LEAST_ALPHA = 0.000001


def recommend_file(path: str | Path, options: FileOptions) -> Written:
    """Learn from a file and recommend.

    Args:
        path: CSV (plain or gzip; UTF-8, GB18030, UTF-16) or Parquet, one row for each unit.
        options: which columns hold what, and prices.

    Raises:
        InputError: when the file or an option cannot be used.
    """
    if not LEAST_ALPHA <= options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number from {LEAST_ALPHA:f} to 0.5, such as 0.05")
    learned = rows_of_file(path, options)
    return write_recommendation(
        learned, about_file(path, learned, options), alpha=options.alpha, seed=options.seed, folds=options.folds
    )


def about_file(path: str | Path, learned: Learned, options: FileOptions) -> About:
    """Return what a recommendation from a file is of."""
    name = Path(printable(path)).name
    return About(
        title={"en": f"{name}: {options.outcome}", "zh-CN": f"{name}：{options.outcome}"},
        source=name,
        unit_type="unit" if options.unit else "row",
        kinds={key: "string" if values.dtype == object else "number" for key, values in learned.columns.items()},
        settings={key: list(v) if isinstance(v, tuple) else v for key, v in asdict(options).items() if v is not None},
        observational=options.observational,
    )


def write_scores(path: str | Path, written: Written) -> int:
    """Write each unit's predicted gain under each arm, and what it should get; return how many rows.

    The predictions are of models that were not fitted on the unit, so the file can be checked against outcomes.

    Raises:
        InputError: when the data bear no words of cause and effect, or the file cannot be written.
    """
    found, learned = written.found, written.learned
    if found is None:
        raise InputError("no scores: these data cannot say who should get which offer")
    arms = learned.arms
    net = found.predicted_net - found.predicted_net[:, :1]
    choice = found.policies[found.recommended].choice

    def rows() -> list[list[object]]:
        return [
            [unit, arms[given], *(f"{value:.6g}" for value in gains[1:]), arms[best]]
            for unit, given, gains, best in zip(learned.units, learned.trial.arm, net, choice, strict=True)
        ]

    head = ["unit", "arm", *(f"gain:{arm}" for arm in arms[1:]), "recommended"]
    listed = rows()
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_text(_csv(head, listed), encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be written: {error.strerror}") from None
    return len(listed)


def _csv(head: list[str], rows: list[list[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()
