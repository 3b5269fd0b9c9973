"""Which column of a file of summary statistics is what: by its name, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.errors import unknown_name
from experiments.sources.file import FileTable

FIGURES: dict[str, tuple[str, ...]] = {
    "n": ("n", "count", "units", "users", "members", "visitors", "sample_size", "n_units", "人数", "样本量"),
    "mean": ("mean", "average", "avg", "均值"),
    "variance": ("variance", "var", "方差"),
    "sd": ("sd", "std", "stddev", "std_dev", "standard_deviation", "标准差"),
    "std_error": ("std_error", "se", "stderr", "standard_error", "sem", "标准误"),
    "sum": ("sum", "total", "总和"),
    "sum_sq": ("sum_sq", "sumsq", "sum_squares", "sum_of_squares", "平方和"),
    "successes": ("successes", "conversions", "converted", "转化数"),
}
"""Figure → names of its column, the usual one first."""
LABELS: dict[str, tuple[str, ...]] = {
    "experiment": ("experiment", "experiment_id", "experiment_name", "test", "实验"),
    "metric": ("metric", "metric_id", "metric_name", "指标"),
    "variant": ("variant", "variant_id", "group", "arm", "方案"),
    "time": ("time", "time_since_start", "day", "date", "checkpoint", "look", "时间", "日期"),
}
WIDE: tuple[tuple[str, str], ...] = (("_c", "_t"), ("_control", "_treatment"), ("_control", "_variant"))


@dataclass(frozen=True)
class Columns:
    """Which column of a file is what, by the engine's names."""

    figures: tuple[dict[str, str], ...]
    """Figure → column: one mapping for the long form; control's and the variant's for the wide one."""
    labels: dict[str, str]

    @property
    def wide(self) -> bool:
        """Whether a row holds control and variant."""
        return len(self.figures) == 2

    @property
    def plain(self) -> bool:
        """Whether it could hardly be anything but a file of summary statistics."""
        return all(_enough(figures) for figures in self.figures)


def find_columns(file: FileTable, named: Mapping[str, str] | None = None) -> Columns | None:
    """Return which column is what, or ``None`` where the file does not look like summary statistics.

    Args:
        file: the open file.
        named: role → column, as the user gives them; they go before what the names say.

    Raises:
        InputError: a role is unknown, or a column is not there.
    """
    given = dict(named or {})
    roles = [*LABELS, *FIGURES, *(role + end for pair in WIDE[:1] for role in FIGURES for end in pair)]
    for role in given:
        if role not in roles:
            raise unknown_name("role", role, roles, "of a column (--column)", limit=len(roles))
    chosen = {role: file.require(column) for role, column in given.items()}
    free = {
        name.strip().casefold(): column
        for name, column in zip(file.header, file.columns, strict=True)
        if column not in chosen.values()
    }

    def of(names: Mapping[str, tuple[str, ...]], end: str = "") -> dict[str, str]:
        found = {}
        for role, aliases in names.items():
            column = chosen.get(role + end) or next((free[a + end] for a in aliases if a + end in free), None)
            if column is not None:
                found[role] = column
        return found

    labels = of(LABELS)
    for ends in WIDE:
        both = tuple(of(FIGURES, end) for end in ends)
        if all("n" in figures for figures in both):
            return Columns(both, labels)
    figures = of(FIGURES)
    if "n" in figures and "variant" in labels and figures.keys() & {"mean", "sum", "successes"}:
        return Columns((figures,), labels)
    return None


def _enough(figures: Mapping[str, str]) -> bool:
    spread = figures.keys() & {"variance", "sd", "std_error"}
    return "n" in figures and (
        "successes" in figures or ("mean" in figures and bool(spread)) or {"sum", "sum_sq"} <= figures.keys()
    )
