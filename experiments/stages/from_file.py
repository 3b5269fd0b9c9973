"""Stages from a file of orders, without a service: one row an order in, one row a unit out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.definitions import Project, StageRule
from experiments.definitions.catalogue import Catalogue, check
from experiments.definitions.errors import DefinitionError
from experiments.definitions.loader import load_file, load_values
from experiments.definitions.money import exponent
from experiments.definitions.stage_facts import FACTS, MOVING, OF_LOGIN, OF_VALUE, Computed
from experiments.errors import InputError
from experiments.importing.reading import batches, count_rows
from experiments.importing.values import CellError, amount_reader, time_reader, time_zone
from experiments.sources.file import FileTable, open_file
from experiments.stages import facts
from experiments.stages.days import Days
from experiments.stages.facts import TABLE
from experiments.stages.orders import LOGINS, ORDERS, UNITS
from experiments.stages.presets import Thresholds, preset
from experiments.stages.ruling import asked, from_json, stage_sql

SHOWN = tuple(name for name in FACTS if name not in OF_LOGIN and name not in MOVING - {"days_since_order"})


@dataclass(frozen=True)
class OrderColumns:
    """Which column means what."""

    unit: str = "unit"
    at: str = "at"
    value: str | None = None
    """In units of the currency; without it orders are worth nothing, and only counted."""


def rule_of(path: Path | None, name: str | None, thresholds: Thresholds, currency: str, zone: str) -> StageRule:
    """Return the rule of a file, or a preset; checked.

    Args:
        path: a YAML file with one stage rule.
        name: of a preset, where no file is given.
        thresholds: of the preset.
        currency: ISO 4217 code.
        zone: IANA name.

    Raises:
        InputError: when it cannot be used, or asks for what orders do not tell.
    """
    if path is not None:
        rules = [loaded.definition for loaded in load_file(path) if isinstance(loaded.definition, StageRule)]
        if len(rules) != 1:
            raise InputError(f"{path}: holds {len(rules)} stage rules; name a file with one")
        rule = rules[0]
    else:
        found = load_values([preset(name or "", thresholds)])[0].definition
        assert isinstance(found, StageRule)  # noqa: S101 - that is what a preset is
        rule = found
    rule = rule.model_copy(update={"computed": rule.computed or Computed()})
    attributes = {rule.attribute: {"type": "string"}}
    kept = rule.computed.keep if rule.computed else ()
    attributes |= {fact: {"type": FACTS[fact]} for fact in kept}
    project = Project.model_validate(
        {"kind": "project", "name": "file", "currency": currency, "time_zone": zone, "attributes": attributes}
    )
    problems = [problem for _, problem in check(Catalogue.of([project, rule]))]
    if problems:
        raise DefinitionError(problems)
    return rule


def compute_file(
    orders: Path,
    columns: OrderColumns,
    rule: StageRule,
    *,
    as_of: str,
    zone: str,
    currency: str,
    target: Path | None,
    encoding: str | None = None,
) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    """Compute the stage of every unit that ordered.

    Args:
        orders: CSV (plain or gzip; UTF-8, GB18030) or Parquet, one row an order.
        columns: which column means what.
        rule: of `rule_of`.
        as_of: local time; later orders are not known.
        zone: IANA name; of times without an offset, and of days.
        currency: ISO 4217 code.
        target: CSV to write; ``None`` returns the rows instead.
        encoding: of a CSV; found out when None.

    Returns:
        Stage → units, and the header and rows, units in order; none where a file is written.

    Raises:
        InputError: when the file cannot be used, naming row and column.
    """
    try:
        moment = time_reader(time_zone(zone))(as_of)
    except CellError as error:
        raise InputError(f"--as-of: {error}") from None
    days = Days.until(moment, zone)
    with open_file(orders, encoding=encoding) as file:
        _load(file, columns, moment, zone, currency)
        connection = file.connection
        computed = rule.computed or Computed()
        wanted = asked(rule, {}) | set(computed.keep)
        facts.write(connection, computed, days, exponent(currency), wanted)  # what is missing is an empty cell
        stage = stage_sql(rule, {}, days, stored=from_json("NULL"))
        shown = ", ".join(_shown(name) for name in SHOWN if name not in OF_VALUE or name in wanted)
        select = f"SELECT s.unit, {stage} AS stage, {shown} FROM {UNITS} s JOIN {TABLE} f USING (u)"  # noqa: S608 - our names
        connection.raw_sql(f"CREATE TEMP TABLE stage_out AS {select}")
        con = connection.con
        counts = con.execute("SELECT coalesce(stage, ''), count(*) FROM stage_out GROUP BY 1 ORDER BY 1").fetchall()
        return dict(counts), _written(con, target)


def _written(con: Any, target: Path | None) -> list[tuple[Any, ...]]:
    from experiments.atomic import replacing

    ordered = "SELECT * FROM stage_out ORDER BY unit"
    if target is None:
        cursor = con.execute(ordered)
        return [tuple(column[0] for column in cursor.description), *cursor.fetchall()]
    try:
        with replacing(target) as temporary:
            quoted = str(temporary).replace("'", "''")
            con.execute(f"COPY ({ordered}) TO '{quoted}' (FORMAT csv, HEADER)")
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from None
    return []


def _shown(name: str) -> str:
    if FACTS[name] == "date":
        return f"strftime(make_timestamp(f.{name}), '%Y-%m-%dT%H:%M:%SZ') AS {name}"
    if name.startswith(("orders", "days_")) or name.endswith("_score"):
        return f"CAST(f.{name} AS BIGINT) AS {name}"
    return f"f.{name}"


def _load(file: FileTable, columns: OrderColumns, moment: int, zone: str, currency: str) -> None:
    """Write the temporary tables that `experiments.stages.facts` counts from."""
    import pyarrow as pa

    named = [file.require(columns.unit), file.require(columns.at)]
    named += [file.require(columns.value)] if columns.value is not None else []
    count_rows(file, named)
    pieces = [
        pa.table({"unit": units, "at_us": times, "value": values}, schema=_schema())
        for units, times, values in _rows(file, columns, named, moment, zone, currency)
    ]
    table = pa.concat_tables(pieces) if pieces else _schema().empty_table()
    if not table.num_rows:
        raise InputError(f"{file.path}: no order is earlier than --as-of: name a later time")
    connection = file.connection
    connection.con.register("stage_file_arrow", table)
    connection.raw_sql(
        f"CREATE TEMP TABLE {UNITS} AS SELECT row_number() OVER (ORDER BY unit) AS u, unit, unit AS root "  # noqa: S608
        "FROM (SELECT DISTINCT unit FROM stage_file_arrow)"
    )
    connection.raw_sql(
        f"CREATE TEMP TABLE {ORDERS} AS SELECT u, at_us, value FROM stage_file_arrow JOIN {UNITS} USING (unit)"  # noqa: S608
    )
    connection.raw_sql(f"CREATE TEMP TABLE {LOGINS} (u BIGINT, at_us BIGINT)")
    connection.con.unregister("stage_file_arrow")


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("unit", pa.string()), ("at_us", pa.int64()), ("value", pa.int64())])


def _rows(
    file: FileTable, columns: OrderColumns, named: list[str], moment: int, zone: str, currency: str
) -> Iterator[tuple[list[str], list[int], list[int]]]:
    read_time, read_amount = time_reader(time_zone(zone)), amount_reader(currency)
    for before, rows in batches(file, named, skip=0):
        units: list[str] = []
        times: list[int] = []
        values: list[int] = []
        for number, row in enumerate(rows, before + 1):
            column = columns.at
            try:
                at = read_time(row[1] or "")
                column = columns.value or ""
                value = read_amount(row[2]) if columns.value is not None and row[2] else 0
            except CellError as error:
                raise InputError(f"{file.path}: row {number}, column {column!r}: {error}") from None
            if not row[0]:
                raise InputError(f"{file.path}: row {number}, column {columns.unit!r}: the unit is empty")
            if at <= moment:
                units.append(row[0])
                times.append(at)
                values.append(value)
        yield units, times, values
