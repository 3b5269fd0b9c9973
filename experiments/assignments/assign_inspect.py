"""What is wrong with a list of members, counted before anybody of it is assigned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from allocation.compiled import CompiledExperiment
from allocation.dialects import DIALECTS
from allocation.hashing import MAX_UNIT_BYTES
from experiments.assignments.assign_source import SOURCE, Attribute
from experiments.errors import InputError
from experiments.personal import PATTERNS
from experiments.sources.file import FileTable

_text = DIALECTS["duckdb"].literal


def check_names(source: FileTable, compiled: CompiledExperiment, unit_column: str | None) -> None:
    """Refuse a file in which a name that is used stands over two columns.

    Raises:
        InputError: naming it.
    """
    used = {unit_column or "", "unit", compiled.unit_type, f"{compiled.unit_type}_id", "opted_out", *compiled.frozen}
    used |= set(compiled.rule.attributes if compiled.rule else ())
    for name in dict.fromkeys(source.header):
        if name in used:
            source.require(name)


@dataclass(frozen=True)
class Inspection:
    """What is wrong with the file's values."""

    bad_units: dict[str, int]
    """What is wrong with the unit id → rows."""
    unreadable: dict[str, int]
    """Attribute → values that are there but not of its type."""
    repeated: int
    """Rows whose unit stands in an earlier row too."""
    personal: int
    """Unit ids that look like an e-mail address or a telephone number."""


def inspect(connection: Any, attributes: list[Attribute], path: str) -> Inspection:
    """Count what is wrong with the file's values before anybody is assigned.

    Raises:
        InputError: when the file has no rows, or no row has a usable unit id.
    """
    kinds = {
        "missing": "unit IS NULL",
        "empty": "unit = ''",
        f"longer than {MAX_UNIT_BYTES} bytes": f"strlen(unit) > {MAX_UNIT_BYTES}",
        "with a NUL character": "contains(unit, chr(0))",
    }
    read = {attribute.name: attribute.alias for attribute in attributes if attribute.unreadable is not None}
    read["opted_out"] = "opted_out"
    personal = " OR ".join(f"regexp_full_match(unit, {_text(pattern)})" for pattern in PATTERNS)
    tests = [*kinds.values(), *(f"{alias}_unreadable" for alias in read.values()), personal]
    counted = ", ".join(f"count(*) FILTER ({test})" for test in tests)
    rows, ids, *counts = connection.execute(
        f"SELECT count(*), count(DISTINCT unit), {counted} FROM {SOURCE}"  # noqa: S608 - our own names
    ).fetchone()
    if rows == 0:
        raise InputError(f"{path}: the list has no rows; there is nobody to assign")
    bad = {name: count for name, count in zip(kinds, counts, strict=False) if count}
    if sum(bad.values()) >= rows:
        raise InputError(
            f"{path}: no row has a usable unit id (text of 1 to 256 bytes); name the right column by --unit-column"
        )
    unreadable = {name: n for name, n in zip(read, counts[len(kinds) : -1], strict=True) if n}
    return Inspection(bad, unreadable, rows - bad.get("missing", 0) - ids, counts[-1])
