"""A file of members is assigned as `allocation.decide` assigns each of them, by the command that users run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from allocation import Enrolment, MemberState, compile_snapshot, decide
from allocation.decision import decision_id
from allocation.plan import AttributePlan, ExperimentPlan, HoldoutPlan, LayerPlan, PhasePlan, Snapshot, VariantPlan
from api.cli import cli
from experiments.assignments.assign import COLUMNS, assign_file, decision_id_sql, json_text_sql
from experiments.publishing import members, snapshot_file
from tests.allocation.plan_cases import NOW, ODD_UNITS

AT = "2026-03-03T01:06:40Z"
PLAN = ExperimentPlan(
    key="winback",
    revision=4,
    state="running",
    variants=(
        VariantPlan("control"),
        VariantPlan("a", {"key": "满100减20", "face_value_minor": 2000}),
        VariantPlan("b"),
    ),
    phases=(
        PhasePlan(1, "5f0c1e2d3b4a6978", (1, 1, 0)),
        PhasePlan(2, "5f0c1e2d3b4a6978", (1, 2, 1), traffic="0.9", opened="keep"),
    ),
    audience={
        "all": [
            {"attribute": "stage", "op": "in", "value": ["dormant", "流失"]},
            {"attribute": "last_order_at", "op": "days_since", "gte": 30},
            {"not": {"attribute": "vip", "op": "eq", "value": True}},
        ]
    },
    attributes={
        "stage": AttributePlan("string"),
        "last_order_at": AttributePlan("date"),
        "vip": AttributePlan("boolean"),
        "spend": AttributePlan("number"),
    },
    frozen=("stage", "spend"),
    layer=LayerPlan("winback", "0123456789abcdef", (("0", "0.8"),)),
    holdouts=(HoldoutPlan("global", "fedcba9876543210", "0.1"), HoldoutPlan("spring", "0f1e2d3c4b5a6978", "0.1")),
    overrides={"m-7": "b"},
    excluded=("m-8",),
)
SNAPSHOT = Snapshot("v9", 0, {"winback": PLAN})
STAGES = ["dormant", "流失", "new", None]


def people(count: int) -> list[dict[str, Any]]:
    rows = []
    for i, unit in enumerate([f"m-{i}" for i in range(count)] + ODD_UNITS):
        rows.append(
            {
                "unit": unit,
                "stage": STAGES[i % 7 % 4],
                "last_order_at": ["2025-11-30", "2026-02-01T08:00:00+08:00", "2026-03-01", "soon"][i % 5 % 4],
                "vip": [False, False, True, None][i % 11 % 4],
                "spend": [12.5, 0.0, None][i % 3],
                "opted_out": i % 29 == 3,
            }
        )
    return rows


def attributes_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("stage", "last_order_at", "vip", "spend") if row[name] is not None}


def check(
    found: list[dict[str, Any]], rows: list[dict[str, Any]], states: dict[str, MemberState], occasion: str
) -> None:
    compiled = compile_snapshot(SNAPSHOT)
    by_unit = {row["unit"]: row for row in found}
    assert len(by_unit) == len(found) == len(rows)
    for row in rows:
        got = by_unit[row["unit"]]
        answer = decide(compiled, "winback", row["unit"], now=NOW, state=states[row["unit"]], occasion=occasion)
        for name in set(COLUMNS) - {"offer", "frozen"}:
            assert got[name] == getattr(answer, name), (name, row, got)
        assert json.loads(got["frozen"]) == json.loads(answer.frozen)
        assert (got["offer"] and json.loads(got["offer"])) == answer.offer


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    snapshot_file.write(_made(tmp_path / "data" / "snapshots"), SNAPSHOT)
    return tmp_path / "data"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def run(deployment: Path, *arguments: str, ok: bool = True) -> Any:
    result = CliRunner().invoke(cli, ["--data", str(deployment), *arguments])
    if ok:
        assert result.exit_code == 0, result.output
    else:
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
    return result


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_parquet_file_gets_what_decide_gives(deployment: Path, tmp_path: Path) -> None:
    rows = people(1500)
    write_parquet(rows, tmp_path / "in.parquet")
    result = run(
        deployment, "assign", "winback", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.parquet"), "--at", AT,
        "--occasion", "spring-sms",
    )  # fmt: skip
    found = pq.read_table(tmp_path / "out.parquet")
    assert tuple(found.column_names) == COLUMNS
    states = {row["unit"]: MemberState(attributes_of(row), opted_out=row["opted_out"]) for row in rows}
    check(found.to_pylist(), rows, states, "spring-sms")
    assert "1,511 rows written" in result.output
    assert "values of 'last_order_at' cannot be read as its type" in result.output
    assert "Every unit is taken as a new member" in result.output  # phase 2 keeps, and there is no member file


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_csv_file_gets_the_same(deployment: Path, tmp_path: Path, encoding: str) -> None:
    rows = [row for row in people(300) if row["unit"] != " "]
    header = ["会员号", "stage", "last_order_at", "vip", "spend", "opted_out"]
    lines = [",".join(header)]
    for row in rows:
        unit = '"' + row["unit"].replace('"', '""') + '"'
        cells = [unit] + ["" if row[name] is None else str(row[name]) for name in header[1:]]
        lines.append(",".join(cells))
    (tmp_path / "in.csv").write_bytes("\n".join(lines).encode(encoding))
    run(
        deployment, "assign", "winback", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.parquet"), "--at", AT,
        "--unit-column", "会员号",
    )  # fmt: skip
    states = {row["unit"]: MemberState(attributes_of(row), opted_out=row["opted_out"]) for row in rows}
    check(pq.read_table(tmp_path / "out.parquet").to_pylist(), rows, states, "")


def test_stored_attributes_opt_outs_and_enrolments_come_from_the_member_file(deployment: Path, tmp_path: Path) -> None:
    rows = people(800)
    states, stored, enrolled = {}, [], []
    for i, row in enumerate(rows):
        attributes = attributes_of(row) | ({"stage": 5} if i % 13 == 0 else {})
        enrolments = {}
        if i % 5 == 0:
            phase, variant = (1, "a") if i % 2 else (2, "b")
            enrolments["winback"] = Enrolment(phase, variant, 0)
            enrolled.append(("member", row["unit"], "winback", phase, variant, 0))
        states[row["unit"]] = MemberState(attributes, enrolments, row["opted_out"])
        stored.append(("member", row["unit"], json.dumps(attributes), int(row["opted_out"])))
    members.write(deployment / "snapshots", NOW, stored, enrolled)
    write_parquet([{"member_id": row["unit"]} for row in rows], tmp_path / "in.parquet")
    result = run(
        deployment, "assign", "winback", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.parquet"), "--at", AT
    )
    check(pq.read_table(tmp_path / "out.parquet").to_pylist(), rows, states, "")
    assert "note:" not in result.output


def test_an_old_member_file_still_says_who_opted_out(deployment: Path, tmp_path: Path) -> None:
    rows = people(100)
    stored = [("member", row["unit"], '{"stage":"nonsense"}', int(row["opted_out"])) for row in rows]
    members.write(deployment / "snapshots", NOW - 49 * 3_600_000_000, stored, [])
    given = [{name: value for name, value in row.items() if name != "opted_out"} for row in rows]
    write_parquet(given, tmp_path / "in.parquet")
    result = run(
        deployment, "assign", "winback", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.parquet"), "--at", AT
    )
    states = {row["unit"]: MemberState(attributes_of(row), opted_out=row["opted_out"]) for row in rows}
    check(pq.read_table(tmp_path / "out.parquet").to_pylist(), rows, states, "")
    assert "more than 48 hours old; only its opt-outs were used" in result.output


def test_bad_units_are_counted_and_get_nothing(deployment: Path, tmp_path: Path) -> None:
    units = ["m-1", "", None, "x" * 257, "a\x00b", "m-2"]
    row = {"stage": "dormant", "last_order_at": "2025-01-01", "vip": False, "spend": 1.0}
    write_parquet([{"unit": unit, **row} for unit in units], tmp_path / "in.parquet")
    compiled = compile_snapshot(SNAPSHOT).experiments["winback"]
    result = assign_file(tmp_path / "in.parquet", tmp_path / "out.parquet", compiled, now=NOW)
    assert result.bad_units == {"missing": 1, "empty": 1, "longer than 256 bytes": 1, "with a NUL character": 1}
    assert result.reasons["invalid_unit"] == 4
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert all(
        row["decision_id"] is None and row["variant"] is None for row in found if row["reason"] == "invalid_unit"
    )


LIST = "unit,stage,last_order_at,vip\n" + "".join(f"m-{i},dormant,2025-01-01,no\n" for i in range(8))


def test_what_is_odd_about_a_list_is_counted(deployment: Path, tmp_path: Path) -> None:
    more = "m-1,dormant,2025-01-01,no\nm-1,dormant,2025-01-01,no\nli@example.com,dormant,2025-01-01,no\n"
    header, _, rows = (LIST + more + "13800138000,dormant,2025-01-01,no\n").partition("\n")
    said = [*["", "no", "是", "否", "maybe"], *[""] * 7]
    lines = [f"{row},{word}" for row, word in zip(rows.splitlines(), said, strict=True)]
    (tmp_path / "in.csv").write_text("\n".join([f"{header},opted_out", *lines]), "utf-8")
    result = run(deployment, "assign", "winback", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv"), "--at", AT)
    assert (
        "warning: 2 unit ids look like an e-mail address or a telephone number: the log refuses them" in result.stderr
    )
    assert "note: 2 rows repeat an earlier row's unit and get the same answer" in result.stderr
    assert "warning: 1 values of 'opted_out' cannot be read as its type" in result.stderr
    found = duckdb.sql(f"SELECT unit FROM read_csv('{tmp_path / 'out.csv'}') WHERE reason = 'opted_out'").fetchall()
    assert found == [("m-2",)]


def test_the_list_itself_is_never_overwritten(deployment: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(LIST)
    (tmp_path / "link.csv").symlink_to(file)
    for output in (file, tmp_path / "link.csv", tmp_path / "x" / ".." / "in.csv"):
        (tmp_path / "x").mkdir(exist_ok=True)
        result = run(deployment, "assign", "winback", str(file), "-o", str(output), ok=False)
        assert "is the list itself, which would be lost; name another file" in result.output
    assert file.read_text() == LIST


def test_an_output_that_cannot_be_written_is_named(deployment: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(LIST)
    (tmp_path / "file").write_text("")
    for output in ("/proc/out.csv", str(tmp_path / "file" / "out.parquet")):
        result = run(deployment, "assign", "winback", str(tmp_path / "in.csv"), "-o", output, ok=False)
        assert result.output.startswith(f"equipoise: --output {output}: cannot be written: ")
        assert result.output.count("\n") == 1


def test_a_name_over_two_columns_is_refused(deployment: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(LIST.replace("vip", "stage", 1))
    result = run(deployment, "assign", "winback", str(tmp_path / "in.csv"), "-o", str(tmp_path / "o.csv"), ok=False)
    assert "2 columns are named 'stage'" in result.output
    (tmp_path / "in.csv").write_text(LIST.splitlines()[0] + "\n")
    result = run(deployment, "assign", "winback", str(tmp_path / "in.csv"), "-o", str(tmp_path / "o.csv"), ok=False)
    assert f"{tmp_path / 'in.csv'}: the list has no rows" in result.output


def test_enrolled_only_writes_those_with_a_variant(deployment: Path, tmp_path: Path) -> None:
    write_parquet(people(200), tmp_path / "in.parquet")
    out = tmp_path / "out.csv"
    run(deployment, "assign", "winback", str(tmp_path / "in.parquet"), "-o", str(out), "--at", AT, "--enrolled-only")
    reasons = {reason for (reason,) in duckdb.sql(f"SELECT DISTINCT reason FROM read_csv('{out}')").fetchall()}
    assert reasons == {"assigned", "override"}


def test_text_becomes_the_same_json_and_the_same_identity_as_in_python() -> None:
    units = (
        [chr(code) for code in range(1, 256)] + ODD_UNITS + ["\u2028", "\ufeff", "\U0010ffff", 'a"\\\n\x1b\\u000B🙂']
    )
    connection = duckdb.connect()
    connection.register("units", pa.table({"unit": units}))
    query = f"SELECT unit, {json_text_sql('unit')}, {decision_id_sql('w', '3', 'member', 'unit', 's.1')} FROM units"
    for unit, text, identity in connection.execute(query).fetchall():
        assert json.loads(text) == unit
        assert identity == decision_id("w", 3, "member", unit, "s.1")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"member": ["a"], "member_id": ["b"]}, "which column is the member's id? Add --unit-column COLUMN"),
        ({"customer": ["a"]}, "which column is the member's id? Add --unit-column COLUMN. There are: customer"),
        ({"unit": [1.5]}, "column 'unit' is DOUBLE, and unit ids are text"),
        ({"unit": ["a"]}, "the audience of winback reads 'stage', which is no column; add it to the file"),
        (
            {"unit": ["a"], "stage": [3], "last_order_at": ["x"], "vip": [True]},
            "column 'stage' is BIGINT, and the attribute 'stage' is a string",
        ),
        (
            {"unit": [""], "stage": ["x"], "last_order_at": ["x"], "vip": [True]},
            "no row has a usable unit id",
        ),
    ],
)
def test_files_that_cannot_be_used(
    deployment: Path, tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    result = run(deployment, "assign", "winback", str(tmp_path / "in.parquet"), "-o", str(out), ok=False)
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["assign", "winbak", "in.csv", "-o", "out.parquet"],
            "no experiment 'winbak' in the snapshot: did you mean 'winback'?",
        ),
        (["assign", "winback", "nothing.csv", "-o", "out.parquet"], "nothing.csv: no such file"),
        (["assign", "winback", "nothing.csv", "-o", "out.xlsx"], "name a file that ends in .csv or .parquet"),
        (["assign", "winback", "nothing.csv", "-o", "out.csv", "--occasion", "a b"], "--occasion: occasion must be"),
        (["assign", "winback", "nothing.csv", "-o", "out.csv", "--at", "noon"], "--at noon: not a date"),
        (["sql", "winback", "--dialect", "mysql", "--snapshot", "nothing.json"], "nothing.json cannot be read"),
        (["sql", "winback", "--dialect", "duckdb", "--table", "a..b"], "'a..b' is not a column or table name"),
    ],
)
def test_requests_that_cannot_be_answered(deployment: Path, arguments: list[str], message: str) -> None:
    assert message in run(deployment, *arguments, ok=False).output


def test_without_a_snapshot_the_command_says_what_to_do(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere", "sql", "winback", "--dialect", "duckdb", ok=False)
    assert "no snapshot in" in result.output


def test_sql_is_printed_with_what_it_cannot_know(deployment: Path, tmp_path: Path) -> None:
    text = run(deployment, "sql", "winback", "--dialect", "duckdb", "--at", AT, "--unit-column", "member_id").output
    assert text.startswith("-- winback, revision 4, phase 2, as of 2026-03-03T01:06:40Z\n-- Members who opted out")
    connection = duckdb.connect()
    connection.execute("CREATE TABLE members (member_id TEXT, stage TEXT, last_order_at TIMESTAMP, vip BOOLEAN)")
    rows = [row for row in people(400) if row["last_order_at"] != "soon"]
    for row in rows:
        connection.execute(
            "INSERT INTO members VALUES (?, ?, epoch_ms(epoch_ms(?::TIMESTAMPTZ)), ?)",
            [row["unit"], row["stage"], row["last_order_at"], row["vip"]],
        )
    compiled = compile_snapshot(SNAPSHOT)
    for unit, variant, reason in connection.execute(text).fetchall():
        row = next(row for row in rows if row["unit"] == unit)
        answer = decide(compiled, "winback", unit, now=NOW, state=MemberState(attributes_of(row)))
        assert (variant, reason) == (answer.variant, answer.reason)
