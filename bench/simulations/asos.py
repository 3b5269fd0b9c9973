"""Real experiments looked at checkpoint by checkpoint (ASOS Digital Experiments Dataset).

188 series (experiment × variant × metric) of 38 experiments, from summary statistics alone. The truth is not known, so
these are counts and not error rates: how many series does each way of looking call different?

Source: Liu, Cardoso, Couturier, McCoy (2021), Datasets for online controlled experiments, NeurIPS Datasets and
Benchmarks (arXiv:2111.10198), CC BY 4.0. The data are not part of the repository.
"""

from __future__ import annotations

from pathlib import Path

from bench.simulations.figure import Figure
from experiments.analyze_summaries import SummaryOptions, analyze_summaries

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "asos_checkpoints.parquet"
ALPHA = 0.05
ABSENT = f"The data are absent ({DATA.name}): nothing was replayed."


def run(data: Path = DATA) -> list[Figure]:
    """Replay all series; nothing where the data are absent."""
    if not data.is_file():
        return []
    found = analyze_summaries(data, SummaryOptions(alpha=ALPHA)).replay
    if found is None:
        raise ValueError(f"{data}: no checkpoints")
    judged = found.judged

    def counted(subject: str, number: int, of: int = judged, most: float | None = None) -> Figure:
        return Figure(subject=subject, measure=f"of {of} series", value=number, most=most)

    return [
        counted("called different by peeking at some checkpoint", found.peeked),
        counted("… of which nothing is left at the end", found.peeked_only),
        # What stops early must, of these, call no more than peeking does: it looks at the same figures more strictly.
        counted("called by the group-sequential test", found.group_sequential, most=found.peeked),
        counted("… of which nothing is left at the end", found.group_sequential_only, most=found.peeked_only),
        counted("called by the always-valid band", found.always_valid, most=found.peeked),
        counted("… of which nothing is left at the end", found.always_valid_only, most=found.peeked_only),
        counted("called by the last checkpoint alone", found.at_the_end),
        counted("not judged: no variance at any checkpoint", found.without_variance, found.series),
        counted("judged in part: no variance at some checkpoints", found.partly_without, found.series),
        counted("units not as an equal split would have them (SRM)", found.srm_failed, found.series),
    ]
