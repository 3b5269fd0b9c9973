"""Exports: the rows as they are, typed as documented, the same bytes again, and only the days that changed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from api.cli import cli
from experiments.errors import InputError
from experiments.exports import exporting
from experiments.exports.exporting import EPOCH, export, passes
from experiments.exports.rows import lines
from experiments.exports.schema import TABLES, arrow_schema, markdown
from experiments.log.rows import DAY_US
from experiments.report.document import Report
from experiments.store import Store, open_store
from experiments.store.log_tables import decisions, events
from experiments.store.migrate import upgrade
from experiments.store.report_tables import reports
from tests.api.web_reports import broken_split

DAY_0 = 20_500  # 2026-02-16
FIRST, LAST = EPOCH + dt.timedelta(days=DAY_0), EPOCH + dt.timedelta(days=DAY_0 + 20)


def decision(number: int, day: int = DAY_0, **other: object) -> dict[str, object]:
    row: dict[str, object] = {
        "decision_id": hashlib.sha256(str(number).encode()).hexdigest()[:32], "experiment": "winback", "revision": 1,
        "phase": 1, "unit_type": "member", "unit": f"m-{number}", "occasion": "", "kind": "enrolled",
        "variant": "coupon", "reason": "hash", "propensity": 0.5, "at": day * DAY_US + number,
        "frozen": '{"tier":"金"}', "holdout": None,
        "snapshot": "v1", "source": "decide", "send_at": None, "policy": None,
    }  # fmt: skip
    return row | other


def event(number: int, day: int = DAY_0, **other: object) -> dict[str, object]:
    at = day * DAY_US + number
    row: dict[str, object] = {
        "source": "shop", "day": day, "event_id": f"e-{number:06}", "name": "Order Completed", "unit_type": "member",
        "unit": f"m-{number}", "at": at, "received_at": at + 5, "object_id": None, "value_minor": 1999,
        "currency": "CNY", "decision_id": None, "experiment": None, "properties": "{}", "stated_at": None,
    }  # fmt: skip
    return row | other


def put(store: Store, table: sa.Table, rows: list[dict[str, object]]) -> None:
    with store.begin() as connection:
        connection.execute(table.insert(), rows)


def put_report(store: Store, report: Report, number: int, day: int = DAY_0) -> None:
    row = {"experiment": report.plan.experiment, "number": number, "phase": 1, "computed_at": day * DAY_US + number,
           "content_hash": report.content_hash, "document": msgspec.json.encode(report).decode()}  # fmt: skip
    put(store, reports, [row])


def manifest(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = json.loads((folder / "manifest.json").read_text())["tables"]
    return found


def test_rows_come_out_as_they_went_in(store: Store, tmp_path: Path) -> None:
    put(store, decisions, [decision(n, DAY_0 + n % 3, send_at=None if n % 2 else DAY_0 * DAY_US) for n in range(30)])
    put(store, events, [event(n, DAY_0 + n % 2) for n in range(10)])
    done = export(store, tmp_path / "out", ["decisions", "events"], FIRST, LAST)
    assert (done.files, done.rows) == (5, 40)
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet"))
    assert files == [
        "decisions/2026-02-16.parquet", "decisions/2026-02-17.parquet", "decisions/2026-02-18.parquet",
        "events/2026-02-16.parquet", "events/2026-02-17.parquet",
    ]  # fmt: skip
    read = pq.read_table(tmp_path / "out" / files[0])
    assert read.schema.equals(arrow_schema("decisions"))
    expected = sorted((decision(n, DAY_0, send_at=None if n % 2 else DAY_0 * DAY_US) for n in range(0, 30, 3)),
                      key=lambda row: str(row["decision_id"]))  # fmt: skip
    got = read.to_pylist()
    for row in got:
        for name in ("at", "send_at"):
            row[name] = None if row[name] is None else round(row[name].timestamp() * 1e6)
    assert got == expected
    entry = manifest(tmp_path / "out")["decisions"]["2026-02-16"]
    content = (tmp_path / "out" / files[0]).read_bytes()
    assert entry == {
        "file": files[0], "rows": 10, "stored": 10, "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip


def test_the_same_rows_give_the_same_bytes_and_only_changed_days_are_written(store: Store, tmp_path: Path) -> None:
    put(store, decisions, [decision(n, DAY_0 + n % 3) for n in range(30)])
    export(store, tmp_path / "a", ["decisions"], FIRST, LAST)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.parquet")}
    assert export(store, tmp_path / "a", ["decisions"], FIRST, LAST).files == 0
    put(store, decisions, [decision(100, DAY_0 + 1)])
    assert export(store, tmp_path / "a", ["decisions"], FIRST, LAST).files == 1
    changed = [path.name for path, mtime in before.items() if path.stat().st_mtime_ns != mtime]
    assert changed == ["2026-02-17.parquet"]
    export(store, tmp_path / "b", ["decisions"], FIRST, LAST)
    for path in before:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


def test_a_file_that_is_gone_or_cut_is_written_again(store: Store, tmp_path: Path) -> None:
    put(store, decisions, [decision(n, DAY_0 + n % 2) for n in range(10)])
    export(store, tmp_path, ["decisions"], FIRST, LAST)
    first, second = sorted(tmp_path.rglob("*.parquet"))
    whole = second.read_bytes()
    first.unlink()
    second.write_bytes(whole[:50])
    assert export(store, tmp_path, ["decisions"], FIRST, LAST).files == 2
    assert second.read_bytes() == whole


def test_days_outside_are_left_alone(store: Store, tmp_path: Path) -> None:
    put(store, decisions, [decision(n, DAY_0 + n) for n in range(5)])
    day = FIRST + dt.timedelta(days=2)
    assert export(store, tmp_path, ["decisions"], day, day).files == 1
    assert list(manifest(tmp_path)["decisions"]) == ["2026-02-18"]


def test_an_export_that_fails_leaves_whole_files_only(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "GROUP_ROWS", 10)
    put(store, decisions, [decision(n, DAY_0 + n % 2) for n in range(60)])

    def stop(done: int, total: int | None) -> None:
        assert (done, total) == (30, 60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path, ["decisions"], FIRST, LAST, stop)
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["2026-02-16.parquet"]
    assert list(manifest(tmp_path)["decisions"]) == ["2026-02-16"]
    assert not list(tmp_path.rglob("*.tmp"))
    assert export(store, tmp_path, ["decisions"], FIRST, LAST).files == 1
    assert pq.read_metadata(tmp_path / "decisions/2026-02-17.parquet").num_row_groups == 3


def test_reports_are_lines_of_metrics_and_variants(store: Store, tmp_path: Path) -> None:
    report = broken_split()
    put_report(store, report, 1)
    put_report(store, report, 2)
    compared = sum(len(metric.comparisons) for metric in report.metrics)
    assert compared > 0
    done = export(store, tmp_path, ["reports"], FIRST, LAST)
    assert (done.files, done.rows) == (1, 2 * compared)
    read = pq.read_table(tmp_path / "reports/2026-02-16.parquet")
    assert read.schema.equals(arrow_schema("reports"))
    row, metric = read.to_pylist()[0], report.metrics[0]
    comparison = metric.comparisons[0]
    assert (row["metric"], row["variant"], row["effect"], row["p_value"], row["readable"]) == (
        metric.name, comparison.variant, comparison.effect.estimate, comparison.p_value, comparison.readable,
    )  # fmt: skip
    assert report.verdict is not None
    assert row["reading"] == report.verdict.code
    assert all(len(line) == len(TABLES["reports"]) for line in lines(1, 0, report))


def test_a_report_without_lines_is_not_written_each_night(store: Store, tmp_path: Path) -> None:
    put_report(store, msgspec.structs.replace(broken_split(), metrics=[]), 1)
    assert export(store, tmp_path, ["reports"], FIRST, LAST).rows == 0
    assert pq.read_table(tmp_path / "reports/2026-02-16.parquet").num_rows == 0
    assert export(store, tmp_path, ["reports"], FIRST, LAST).files == 0


def test_a_folder_that_cannot_be_used_is_said(store: Store, tmp_path: Path) -> None:
    put(store, decisions, [decision(1)])
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(InputError, match=f"cannot write exports to {blocked}"):
        export(store, blocked, ["decisions"], FIRST, LAST)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "manifest.json").write_text("[1]")
    with pytest.raises(InputError, match="is no manifest of exports"):
        export(store, strange, ["decisions"], FIRST, LAST)


def test_days_beside_each_other_are_read_together() -> None:
    assert list(passes({})) == []
    assert list(passes({1: 5, 2: 5, 4: 5}, most_rows=100)) == [(1, 2), (4, 4)]
    assert list(passes({1: 500, 2: 5}, most_rows=100)) == [(1, 1), (2, 2)]


def test_the_schema_covers_the_tables() -> None:
    assert [column.name for column in TABLES["decisions"]] == decisions.c.keys()
    assert [column.name for column in TABLES["events"]] == events.c.keys()
    for name, table in (("decisions", decisions), ("events", events)):
        for column in TABLES[name]:
            assert column.optional == bool(table.c[column.name].nullable), column.name
            if isinstance(table.c[column.name].type, sa.BigInteger):
                assert pa.types.is_integer(column.type) or pa.types.is_temporal(column.type), column.name


def test_the_documents_say_what_the_schema_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
    for table in TABLES:
        assert markdown(table) in text, f"docs/exports.md: renew the table of {table} with experiments.exports.schema"


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """200,000 rows of one day, sorted by the database, in less than the rows themselves would take."""
    import resource

    store = open_store(f"sqlite:///{tmp_path / 'x.sqlite'}")
    upgrade(store)
    for start in range(0, 200_000, 50_000):
        put(store, decisions, [decision(n, frozen='{"a":"' + "x" * 300 + '"}') for n in range(start, start + 50_000)])
    pa.default_memory_pool()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert export(store, tmp_path / "out", ["decisions"], FIRST, LAST).rows == 200_000
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 250
    assert pq.read_metadata(tmp_path / "out/decisions/2026-02-16.parquet").num_row_groups == 4


def test_the_command_line_exports(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'equipoise.sqlite'}"
    store = open_store(url)
    upgrade(store)
    put(store, decisions, [decision(n) for n in range(5)])
    store.close()

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["--data", str(tmp_path), "export-data", *arguments])
        return result.exit_code, result.output

    assert run("--from", "2026-02-16", "--to", "2026-02-16") == (
        0,
        f"Wrote 1 file with 5 rows to {tmp_path / 'exports'}\n",
    )
    assert run("--out", str(tmp_path / "o"), "--table", "decisions")[0] == 0
    assert (tmp_path / "o/decisions/2026-02-16.parquet").exists()
    assert run("--from", "yesterday") == (2, "equipoise: --from 'yesterday' is not a day; write it as 2026-03-01\n")
    assert run("--from", "2026-02-17", "--to", "2026-02-16")[0] == 2
