"""The rows of a file that are analysed, one per unit: what is left out, their variants, and the days they entered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.analyze.columns import Columns
from experiments.analyze.options import AnalyzeOptions
from experiments.errors import InputError, unknown_name
from experiments.sources.duck import fetch, fetch_one, materialise
from experiments.sources.file import ROW, FileTable
from experiments.sources.layout import unique_names

MAX_VARIANTS = 20
MAX_COMBINATIONS = 64
"""Variants that factors make."""
BETWEEN = " · "
LOW_WORDS = ("0", "0.0", "false", "f", "no", "n", "off", "none", "control", "否", "无")
"""Levels of a factor that are its base."""


@dataclass(frozen=True)
class KeptRows:
    """The rows that are analysed, one per unit, and what was left out."""

    table: Any
    counts: dict[str, int]
    """Units by variant."""
    contaminated: int = 0
    duplicates: int = 0
    no_variant: int = 0
    no_unit: int = 0


@dataclass(frozen=True)
class MadeVariants:
    """Variants that factors make."""

    variants: tuple[str, ...]
    """Those in the file, the one with most bases (control) first."""
    levels: dict[str, tuple[int, ...]]
    """Factor → level of each variant, 0 for its base."""
    names: dict[str, tuple[str, str]]
    """Factor → its base and its other level."""


def with_factors(file: FileTable, table: Any, columns: Columns) -> tuple[Any, str, MadeVariants]:
    """Return the rows with a column of variants that the factors make, its name, and the variants.

    Raises:
        InputError: for a column that has not two levels, or too many factors.
    """
    import ibis

    names: dict[str, tuple[str, str]] = {}
    for label, (column, base) in columns.factors.items():
        names[label] = _two_levels(file, table, label, column, base)
    (variant,) = unique_names(["variant"], table.columns)
    text: Any = None
    for label, (column, _) in columns.factors.items():
        part = ibis.literal(f"{label}=") + table[column]
        text = part if text is None else text + BETWEEN + part
    table = table.mutate(**{variant: text})
    found = set(_counts(table.filter(table[variant].notnull()), variant))
    combinations: list[tuple[tuple[int, ...], str]] = [((), "")]
    for label, levels in names.items():
        combinations = [
            ((*place, i), f"{before}{BETWEEN if before else ''}{label}={level}")
            for place, before in combinations
            for i, level in enumerate(levels)
        ]
    there = [(place, name) for place, name in combinations if name in found]
    there.sort(key=lambda pair: (sum(pair[0]), [-level for level in pair[0]]))
    if len(there) > MAX_COMBINATIONS:
        raise InputError(f"--factor: {len(there)} combinations of levels are too many (at most {MAX_COMBINATIONS})")
    made = {label: tuple(place[i] for place, _ in there) for i, label in enumerate(names)}
    return table, variant, MadeVariants(tuple(name for _, name in there), made, names)


def _two_levels(file: FileTable, table: Any, label: str, column: str, base: str | None) -> tuple[str, str]:
    named = table.filter(table[column].notnull())
    rows = fetch(named.select(level=named[column]).distinct().limit(3))
    found = sorted(str(r["level"]) for r in rows)
    if len(found) != 2:
        raise InputError(
            f"{file.path}: --factor {label!r} has {'more than 2' if len(found) > 2 else len(found)} different values: "
            "a factor has two, such as 0 and 1"
        )
    if base is not None and base not in found:
        raise unknown_name("level", base, found, f"in column {label!r} (--factor)")
    low = base if base is not None else next((v for v in found if v.casefold() in LOW_WORDS), found[0])
    return low, next(v for v in found if v != low)


def keep_units(file: FileTable, table: Any, variant: str, unit_column: str | None) -> KeptRows:
    """Leave out rows without variant or unit, units in two variants, and repeats (the first row of a unit is kept)."""
    import ibis

    empty = fetch_one(table.filter(table[variant].isnull()).count())
    known = table.filter(table[variant].notnull()) if empty else table
    if unit_column is None:
        return KeptRows(known, _counts(known, variant), no_variant=empty)
    unit = known[unit_column]
    nameless = fetch_one(known.filter(unit.isnull()).count())
    known = known.filter(unit.notnull())
    per_unit = known.group_by(unit_column).aggregate(
        equipoise_first=known[ROW].min(),
        equipoise_mixed=known[variant].min() != known[variant].max(),
        equipoise_rows=known.count(),
    )
    per_unit = materialise(file.connection, per_unit, "equipoise_units")
    tally = per_unit.aggregate(
        mixed=per_unit.equipoise_mixed.sum(),
        repeats=ibis.ifelse(per_unit.equipoise_mixed, 0, per_unit.equipoise_rows - 1).sum(),
    )
    found = fetch(tally)[0]
    if found["mixed"] or found["repeats"]:
        firsts = per_unit.filter(~per_unit.equipoise_mixed).select("equipoise_first")
        known = known.semi_join(firsts, known[ROW] == firsts.equipoise_first)
    mixed, repeats = int(found["mixed"] or 0), int(found["repeats"] or 0)
    return KeptRows(known, _counts(known, variant), mixed, repeats, int(empty), int(nameless))


def _counts(table: Any, variant: str) -> dict[str, int]:
    counted = fetch(table.group_by(variant).aggregate(n=table.count()))
    return {str(row[variant]): int(row["n"]) for row in sorted(counted, key=lambda r: str(r[variant]))}


def variants_of(file: FileTable, options: AnalyzeOptions, counts: Mapping[str, int]) -> list[str]:
    """Return the variants that a column holds, control first.

    Raises:
        InputError: when there is nothing to compare, or control is not among them.
    """
    found = sorted(counts)
    if not found:
        raise InputError(f"{file.path}: no rows with a variant in column {options.variant!r}")
    if len(found) > MAX_VARIANTS:
        raise InputError(
            f"{file.path}: column {options.variant!r} has {len(found):,} different values (at most {MAX_VARIANTS}): "
            "is it the variant column?"
        )
    if len(found) == 1:
        raise InputError(
            f"{file.path}: only one variant, {found[0]!r}, in column {options.variant!r}: nothing to compare it with"
        )
    if options.control not in counts:
        raise unknown_name("variant", str(options.control), found, f"in column {options.variant!r} of {file.path}")
    return [str(options.control), *(v for v in found if v != options.control)]


def made_variants(file: FileTable, made: MadeVariants, counts: Mapping[str, int]) -> tuple[list[str], MadeVariants]:
    """Return the variants that factors make and that units are left of.

    Raises:
        InputError: when fewer than two are.
    """
    places = [i for i, name in enumerate(made.variants) if counts.get(name)]
    if len(places) < 2:
        raise InputError(f"{file.path}: --factor leaves fewer than two variants with units: nothing to compare")
    variants = tuple(made.variants[i] for i in places)
    levels = {factor: tuple(found[i] for i in places) for factor, found in made.levels.items()}
    return list(variants), replace(made, variants=variants, levels=levels)


def with_days(file: FileTable, rows: Any, label: str, column: str) -> tuple[Any, str]:
    """Return the rows with the day of entry, days since 1970-01-01, and its column's name.

    Raises:
        InputError: for a cell that is no date, or an empty one.
    """
    (day,) = unique_names(["day"], rows.columns)
    date = rows[column].strip().left(10).try_cast("date")
    wrong = rows.filter(date.isnull()).select(value=rows[column]).limit(1)
    found = fetch(wrong)
    if found:
        given = "an empty cell" if found[0]["value"] is None else repr(found[0]["value"])
        raise InputError(f"{file.path}: column {label!r} (--entered) holds {given}; write dates as 2026-03-01")
    return rows.mutate(**{day: (date.epoch_seconds() // 86_400).cast("int64")}), day


def with_strata(rows: Any, columns: Sequence[str]) -> tuple[Any, str]:
    """Return the rows with their stratum, the levels of all columns combined, and its column's name."""
    (stratum,) = unique_names(["stratum"], rows.columns)
    text: Any = None
    for column in columns:
        part = rows[column].fill_null("")
        text = part if text is None else text + BETWEEN + part
    return rows.mutate(**{stratum: text}), stratum
