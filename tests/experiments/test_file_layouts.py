"""CSV files as people and programs write them: every layout gives the same rows, or one line says what is wrong."""

from __future__ import annotations

import bz2
import gzip
import os
import threading
from pathlib import Path

import pytest

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.errors import InputError
from experiments.report.document import Report
from experiments.sources.layout import find_layout

ROWS = [("ab"[i % 2], str(i % 3 % 2), f"{i * 1.5}") for i in range(40)]


def text(separator: str = ",", line_end: str = "\n", above: str = "", header: str = "g m s") -> str:
    lines = [separator.join(header.split(" ")), *(separator.join(row) for row in ROWS)]
    return above + line_end.join(lines) + line_end


def read(path: Path, content: str | bytes, **options: object) -> Report:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given: dict[str, object] = {"variant": "g", "control": "a", "metrics": ["m", "s"]}
    return analyze_file(path, AnalyzeOptions(**(given | options)))  # type: ignore[arg-type]


MARK = b"\xef\xbb\xbf"
LAYOUTS: dict[str, str | bytes] = {
    "windows": text(line_end="\r\n"),
    "old mac": text(line_end="\r"),
    "both line ends": text(line_end="\r\n").replace("\r\n", "\n", 7),
    "semicolons": text(";"),
    "tabs": text("\t"),
    "bars": text("|"),
    "a mark and semicolons": MARK + text(";").encode(),
    "Excel's own line": text(";", above="sep=;\n"),
    "a title and an empty line": text(above="Export of 2026-03-03\n\n"),
    "a title with the commas of a table": text(above="Export,,\n"),
    "empty lines above": text(above="\n\n"),
    "empty lines between": text(line_end="\n\n"),
    "UTF-16": text().encode("utf-16"),
    "UTF-16 without a mark": text().encode("utf-16-le"),
    "UTF-16, big end first": text().encode("utf-16-be"),
    "UTF-32": text().encode("utf-32"),
    "gzip": gzip.compress(text().encode()),
    "gzip of semicolons": gzip.compress(text(";").encode()),
    "no last line end": text().rstrip("\n"),
    "a comma after every row": text(line_end=",\n"),
    "spaces around names": text().replace("g,m,s", "g , m, s "),
}


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_gives_the_same_figures(tmp_path: Path, name: str) -> None:
    plain = read(tmp_path / "plain.csv", text())
    assert [v.n for v in plain.metrics[0].variants] == [20, 20]
    assert read(tmp_path / "other.csv", LAYOUTS[name]).metrics == plain.metrics


def test_decimal_points_beside_semicolons_do_not_mislead(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("g;note;m\n" + "a;1,5;1\nb;2,5;0\n" * 5)
    assert find_layout(tmp_path / "a.csv", "a.csv").header == ("g", "note", "m")


def test_the_first_quote_may_come_late(tmp_path: Path) -> None:
    """The engine's own guess says "no quotes" from the first rows, and fails or splits the cell 60,000 rows later."""
    body = "".join(f"{'ab'[i % 2]},{i % 3 % 2},{i},x\n" for i in range(60_000))
    late = 'a,1,5,"x, ""y""\nand z"\nb,1,6,"it\'s"\n'
    report = read(tmp_path / "a.csv", "g,m,s,note\n" + body + late)
    assert [v.n for v in report.metrics[0].variants] == [30_001, 30_001]


def test_names_that_differ_in_case_are_different_columns(tmp_path: Path) -> None:
    rows = "".join(f"x,{'ab'[i % 2]},{i % 3},{i % 5},{-i}\n" for i in range(40))
    report = read(tmp_path / "a.csv", "G,g,m,s,S\n" + rows, metrics=["s", "S"], breakdowns=["G"])
    assert [m.name for m in report.metrics] == ["s", "S"]
    assert [m.variants[0].mean for m in report.metrics] == [2.0, -19.0]
    assert [b.attribute for b in report.breakdowns] == ["G", "G"]
    with pytest.raises(InputError, match="2 columns are named 's': give each a name of its own"):
        read(tmp_path / "a.csv", "g,m,s,s\n" + "a,1,2,3\nb,0,1,2\n" * 5)
    assert read(tmp_path / "a.csv", "g,m,s,x,x\n" + "a,1,2,3,4\nb,0,1,2,4\n" * 5).metrics, "others may repeat"


def test_our_own_names_are_free_for_columns(tmp_path: Path) -> None:
    names = ["equipoise_row", "m missing", "units", "variant", "x0", "stratum"]
    rows = "".join(f"{'ab'[i % 2]},{'' if i % 7 == 0 else i},{i * i},1,{i % 3},{i % 4},{i}\n" for i in range(60))
    report = read(
        tmp_path / "a.csv",
        "g,m," + ",".join(names[1:]) + "\n" + rows,
        metrics=["m missing", "variant", "x0"],
        covariates=["m"],
        breakdowns=["units"],
    )
    assert report.metrics[0].variants[0].mean == sum(i * i for i in range(0, 60, 2)) / 30
    rows = "".join(f"{'ab'[i % 2]},{i}\n" for i in range(60))
    assert read(tmp_path / "b.csv", "g,equipoise_row\n" + rows, metrics=["equipoise_row"]).metrics


BAD: dict[str, tuple[str | bytes, str]] = {
    "a short row": (text() + "a,1\n", "line 42: 2 cells where the header has 3"),
    "a long row": (text() + "a,1,2,3\n", "line 42: 4 cells where the header has 3"),
    "a quote left open": (text() + 'a,1,"5\nb,0,2\n', 'line 42: a quote (") is not closed'),
    "only line ends": ("\n\n\n", "has no header line"),
    "an empty gzip": (gzip.compress(b""), "has no header line"),
    "zeros": (b"\0" * 5000, "is not text"),
    "Excel": (b"PK\x03\x04" + bytes(range(256)), "is an Excel workbook or a zip archive; save it as CSV"),
    "bzip2": (bz2.compress(text().encode()), "is compressed by bzip2"),
    "a cut gzip": (gzip.compress(text().encode() * 50)[:-20], "check that the file is complete"),
    "a damaged gzip": (gzip.compress(text().encode())[:60] + b"\xff" * 40, "check that the file is complete"),
    "a cell of 3 MB": (text() + "a,1," + "9" * 3_000_000 + "\n", "line 42: longer than 2 MB"),
    "a line end in a name": ('g,m,"s\nt"\na,1,2\nb,0,1\n', "no column 's'"),
    "thousands": (text() + 'a,1,"12,345"\n', "'12,345' is not a number; write it without thousands separators;"),
    "a decimal comma": (text(";") + "a;1;1,5\n", "'1,5' is not a number; write decimals with a point;"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_be_read_gets_one_line(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.csv", content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    """``equipoise analyze <(zcat a.csv.gz)``: what can be read only once."""
    plain = read(tmp_path / "plain.csv", text())
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(gzip.compress(text().encode()),))
    writer.start()
    report = analyze_file(tmp_path / "pipe", AnalyzeOptions(variant="g", control="a", metrics=["m", "s"]))
    writer.join()
    assert report.metrics == plain.metrics


def test_a_name_whose_bytes_are_no_text_is_read_too(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.csv"))
    report = read(path, text())
    assert report.plan.source == "a\ufffd.csv"
    assert len(report.content_hash) == 64


def test_chinese_letters_may_begin_after_8_megabytes(tmp_path: Path) -> None:
    """ASCII is UTF-8 and GB18030: the first other character decides, wherever it stands."""
    plain = "g,m,s\n" + "a,1,2.25,xxxxxxxxxxxxxxxxxxxxxxxxxxx\nb,0,1.25,xxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * 130_000
    content = plain.replace("g,m,s\n", "g,m,s,note\n") + "a,1,2.25,复购\n"
    assert len(content) > 9_000_000
    report = read(tmp_path / "a.csv", content.encode("gb18030"), metrics=["m"])
    assert report.metrics[0].variants[0].n == 130_001
