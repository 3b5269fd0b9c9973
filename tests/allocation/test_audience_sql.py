"""A rule means the same in Python, DuckDB and PostgreSQL: random rules × random attributes, three-valued."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import psycopg
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allocation.audience import Rule, compile_python, first_unknown, json_columns, parse, to_sql
from allocation.audience.dates import to_us
from allocation.dialects import DIALECTS, DialectError
from tests.allocation.audience_cases import NOW, TYPES, json_rows, rules, typed_rows

# One example asks 8 rules of 12 rows in one query: 60 examples compare some 5,800 answers.
batches = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
some_rules = st.lists(rules, min_size=8, max_size=8)


SQL_TYPES = {
    "duckdb": {"string": "VARCHAR", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "TIMESTAMP", "list": "VARCHAR[]"},
    "postgres": {
        "string": "TEXT",
        "number": "DOUBLE PRECISION",
        "boolean": "BOOLEAN",
        "date": "TIMESTAMP",
        "list": "TEXT[]",
    },
}


class Engine:
    """One table of typed columns and one of JSON; the session lives far from UTC on purpose."""

    def __init__(self, name: str, connection: Any, document: str, mark: str) -> None:
        self.name = name
        self.connection = connection
        self.mark = mark
        typed = ", ".join(f"{DIALECTS[name].column(key)} {SQL_TYPES[name][kind]}" for key, kind in TYPES.items())
        connection.execute("SET TimeZone = 'Pacific/Auckland'")
        connection.execute(f"CREATE TEMP TABLE typed (row_id INTEGER, {typed})")
        connection.execute(f"CREATE TEMP TABLE documents (row_id INTEGER, properties {document})")

    def ask(self, table: str, rows: list[tuple[Any, ...]], conditions: list[str]) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor() if self.name == "postgres" else self.connection
        cursor.execute(f"DELETE FROM {table}")
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join([self.mark] * len(rows[0]))})", rows)
        return cursor.execute(f"SELECT {', '.join(conditions)} FROM {table} ORDER BY row_id").fetchall()


@pytest.fixture(scope="module", params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "duckdb":
        with duckdb.connect(config={"threads": 1}) as connection:
            yield Engine("duckdb", connection, "VARCHAR", "?")
    else:
        url = request.getfixturevalue("postgres_url").replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            yield Engine("postgres", connection, "JSONB", "%s")


def _typed(row: dict[str, Any]) -> tuple[Any, ...]:
    values = []
    for name, kind in TYPES.items():
        value = row.get(name)
        if kind == "date" and value is not None:
            value = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=to_us(value))).replace(tzinfo=None)
        if kind == "number" and isinstance(value, int):
            value = float(value)
        values.append(value)
    return tuple(values)


def _compare(engine: Engine, checked: list[Rule], rows: list[dict[str, Any]], answers: list[tuple[Any, ...]]) -> None:
    for i, rule in enumerate(checked):
        check = compile_python(rule)
        for j, row in enumerate(rows):
            assert answers[j][i] is check(row, NOW), (rule, row)


@batches
@given(documents=some_rules, rows=st.lists(typed_rows, min_size=12, max_size=12))
def test_typed_columns_answer_as_python_does(engine: Engine, documents: list[Any], rows: list[dict[str, Any]]) -> None:
    checked = [parse(document, TYPES) for document in documents]
    conditions = [to_sql(rule, engine.name, now=NOW) for rule in checked]
    answers = engine.ask("typed", [(i, *_typed(row)) for i, row in enumerate(rows)], conditions)
    _compare(engine, checked, rows, answers)


@batches
@given(documents=some_rules, rows=st.lists(json_rows, min_size=12, max_size=12))
def test_json_attributes_answer_as_python_does(
    engine: Engine, documents: list[Any], rows: list[dict[str, Any]]
) -> None:
    checked = [parse(document, TYPES) for document in documents]
    column = json_columns(engine.name, "properties")
    conditions = [to_sql(rule, engine.name, column=column, now=NOW) for rule in checked]
    answers = engine.ask("documents", [(i, json.dumps(row)) for i, row in enumerate(rows)], conditions)
    _compare(engine, checked, rows, answers)


@batches
@given(document=rules, row=json_rows)
def test_an_unknown_rule_names_an_attribute_it_reads_and_only_then(document: Any, row: dict[str, Any]) -> None:
    rule = parse(document, TYPES)
    name = first_unknown(rule, row, NOW)
    assert (name is None) == (compile_python(rule)(row, NOW) is not None)
    assert name is None or name in rule.attributes


@batches
@given(document=rules)
def test_every_dialect_writes_every_rule_or_says_why_not(document: Any) -> None:
    rule = parse(document, {**TYPES, "odd": "string"})
    for name in DIALECTS:
        try:
            condition = to_sql(rule, name, now=NOW)
        except DialectError as error:
            reason = str(error)
            assert ("list" in reason and name in ("bigquery", "clickhouse")) or "years" in reason
        else:
            sqlglot.parse_one(f"SELECT 1 FROM t WHERE {condition}", dialect=name, error_level=sqlglot.ErrorLevel.RAISE)


def test_numbers_are_written_exactly() -> None:
    connection = duckdb.connect()
    for value in (
        0.1,
        -2.5,
        5e-324,
        1.7976931348623157e308,
        0.30000000000000004,
        123456789.125,
        1e22,
        9007199254740991.0,
    ):
        literal = DIALECTS["duckdb"].number_literal(value)
        (found,) = connection.execute(f"SELECT {literal}").fetchone()
        assert found == value
        assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("document", "dialect", "message"),
    [
        ({"attribute": "l", "op": "exists"}, "bigquery", "stores a missing list as an empty one"),
        ({"not": {"attribute": "l", "op": "contains", "value": "a"}}, "clickhouse", "use another attribute"),
        ({"attribute": "d", "op": "lt", "value": "1850-01-01"}, "clickhouse", "years 1900 to 2299"),
        ({"attribute": "s", "op": "eq", "value": "a"}, "oracle", "'oracle' is not a dialect; use one of duckdb"),
    ],
)
def test_what_a_dialect_cannot_express_is_refused(document: Any, dialect: str, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        to_sql(parse(document, TYPES), dialect, now=NOW)


def test_days_since_needs_a_time() -> None:
    rule = parse({"attribute": "d", "op": "days_since", "gte": 1}, TYPES)
    with pytest.raises(DialectError, match="give 'now'"):
        to_sql(rule, "duckdb")


def test_other_dialects_do_not_read_json() -> None:
    with pytest.raises(DialectError, match="give spark columns"):
        json_columns("spark", "properties")
