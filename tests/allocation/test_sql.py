"""Assignment in SQL gives what `allocation.decide` gives: run on DuckDB and PostgreSQL, parsed for all dialects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import psycopg
import pytest
import sqlglot

from allocation.audience.dates import to_us
from allocation.dialects import DIALECTS, DialectError
from allocation.plan import ExperimentPlan, PhasePlan, VariantPlan
from allocation.sql import assignment_sql, caveats
from tests.allocation.plan_cases import Case, Member, cases

CASES = cases(count=80, rows=50, seed=20260303)


def moment(text: str | None) -> datetime | None:
    """The UTC timestamp, without a zone, that a column holds for an ISO date."""
    microseconds = None if text is None else to_us(text)
    if microseconds is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).replace(tzinfo=None)


def member_row(member: Member) -> tuple[Any, ...]:
    got = member.attributes.get
    return (member.unit, got("stage"), got("spend"), got("vip"), moment(got("last_order_at")), member.opted_out)


def query(case: Case, dialect: str, *, members: str = "members", enrolled: str = "enrolled") -> str:
    return assignment_sql(
        case.plan,
        dialect,
        table=members,
        unit_column="member_id",
        now=case.now,
        excluded=case.excluded,
        opted_out="opted_out" if case.with_opt_out else None,
        enrolments=enrolled if case.with_enrolments else None,
    )


@pytest.fixture(scope="module", params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, str]]:
    attributes = "stage TEXT, spend DOUBLE PRECISION, vip BOOLEAN, last_order_at TIMESTAMP"
    tables = [
        f"CREATE TEMP TABLE members (member_id TEXT, {attributes}, opted_out BOOLEAN)",
        "CREATE TEMP TABLE enrolled (unit TEXT, phase INTEGER, variant TEXT)",
    ]
    if request.param == "duckdb":
        with duckdb.connect(config={"threads": 1}) as connection:
            for table in tables:
                connection.execute(table)
            yield "duckdb", connection, "?"
    else:
        url = request.getfixturevalue("postgres_url").replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for table in tables:
                cursor.execute(table)
            yield "postgres", cursor, "%s"


def test_sql_assigns_as_python_does(engine: tuple[str, Any, str]) -> None:
    dialect, cursor, mark = engine
    reasons = set()
    for case in CASES:
        cursor.execute("DELETE FROM members")
        cursor.execute("DELETE FROM enrolled")
        cursor.executemany(
            f"INSERT INTO members VALUES ({', '.join([mark] * 6)})", [member_row(member) for member in case.members]
        )
        enrolled = [(member.unit, *member.enrolment) for member in case.members if member.enrolment]
        cursor.executemany(f"INSERT INTO enrolled VALUES ({mark}, {mark}, {mark})", enrolled)
        found = {unit: (variant, reason) for unit, variant, reason in cursor.execute(query(case, dialect)).fetchall()}
        expected = {unit: (variant, reason) for unit, variant, reason in case.expected()}
        assert found == expected, case.plan
        reasons.update(reason for _, reason in expected.values())
    # The cases are only worth something when every way through the order is walked.
    assert reasons == {
        "assigned", "kept", "override", "holdout", "not_running", "testing", "paused", "not_started", "ended",
        "opted_out", "excluded", "not_in_audience", "missing_attribute", "other_slot", "not_in_traffic", "invalid_unit",
    }  # fmt: skip


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_dialect_is_valid_sql(dialect: str) -> None:
    for case in CASES:
        text = query(case, dialect, members="crm.members")
        tree = sqlglot.parse_one(text, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert [column.alias_or_name.lower() for column in tree.selects] == ["unit", "variant", "reason"]


PLAN = ExperimentPlan(
    key="x",
    revision=1,
    state="running",
    variants=(VariantPlan("control"), VariantPlan("a")),
    phases=(PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),),
)


def test_text_from_outside_cannot_end_a_literal_or_a_name() -> None:
    evil = "x'); DROP TABLE members; --"
    plan = ExperimentPlan(
        key="x",
        revision=1,
        state="running",
        variants=(VariantPlan(evil), VariantPlan("\\' OR 1=1 --")),
        phases=PLAN.phases,
        excluded=(evil, "\\"),
    )
    for dialect in DIALECTS:
        text = (
            assignment_sql(plan, dialect, table='we"ird`', unit_column='a"b')
            if dialect != "bigquery"
            else (assignment_sql(plan, dialect))
        )
        assert len(sqlglot.parse(text, dialect=dialect)) == 1
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE members AS SELECT 'm-' || i AS unit FROM range(50) AS r(i)")
        found = connection.execute(f"SELECT DISTINCT variant FROM ({assignment_sql(plan, 'duckdb')})").fetchall()
    assert {variant for (variant,) in found} == {evil, "\\' OR 1=1 --"}


def test_what_sql_cannot_know_is_refused_or_said() -> None:
    scheduled = ExperimentPlan("x", 1, "running", PLAN.variants, PLAN.phases, start=5)
    with pytest.raises(DialectError, match="has a schedule, so SQL needs the time"):
        assignment_sql(scheduled, "duckdb")
    learned = ExperimentPlan("x", 1, "running", PLAN.variants, PLAN.phases, allocation="bandit")
    with pytest.raises(DialectError, match="draws its variants by 'bandit', which SQL cannot"):
        assignment_sql(learned, "duckdb")
    with pytest.raises(DialectError, match="is not a dialect; use one of duckdb, postgres"):
        assignment_sql(PLAN, "access")
    sticky = ExperimentPlan("x", 1, "running", PLAN.variants, PLAN.phases, sticky=True)
    assert len(caveats(sticky)) == 2
    assert caveats(sticky, opted_out=True, enrolments=True) == []


def test_a_digest_is_computed_once_and_only_where_it_is_read() -> None:
    assert assignment_sql(PLAN, "duckdb").count("sha256") == 1
    alone = ExperimentPlan("x", 1, "running", PLAN.variants[:1], (PhasePlan(1, "c0", (1,)),))
    assert "sha256" not in assignment_sql(alone, "duckdb")
    assert "sha256" not in assignment_sql(ExperimentPlan("x", 1, "ended", PLAN.variants, PLAN.phases), "duckdb")
