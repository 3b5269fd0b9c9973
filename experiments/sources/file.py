"""A CSV, compressed CSV or Parquet file as an Ibis table on an embedded DuckDB."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import InputError, unknown_name
from experiments.sources.duck import connect
from experiments.sources.encoding import GZIP_MAGIC, detect_encoding, has_mixed_line_ends, transcode
from experiments.sources.layout import find_layout, unique_names

PARQUET_MAGIC = b"PAR1"
ROW = "equipoise_row"
PARQUET_ROW = "file_row_number"
MOST_DIGITS = 38
OTHER_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"BZh": "compressed by bzip2",
    b"\xfd7zX": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"%PDF": "a PDF",
    b"SQLi": "a SQLite database",
    b"ARRO": "an Arrow file",
}
"""First bytes of files that are often taken for a CSV."""


@dataclass(frozen=True)
class FileTable:
    """An open file: all columns of a CSV are text; a Parquet file keeps its types."""

    path: str
    connection: Any
    """Ibis connection (DuckDB)."""
    table: Any
    """Ibis table of the whole file, read where it lies."""
    columns: tuple[str, ...]
    """Names in the engine: those of the header, but ``spend_1`` where it says ``spend`` or ``Spend`` again."""
    is_text: bool
    header: tuple[str, ...]
    """Names as they stand in the file, one for each of ``columns``."""
    row: str | None = None
    """Column with the number of the row, where the engine knows it."""
    unreadable: frozenset[str] = frozenset()
    """Columns whose values the engine cannot hold."""

    def require(self, name: str) -> str:
        """Return the engine's name of the column that the file calls ``name``.

        Raises:
            InputError: when there is none, with the nearest names, or when there are two.
        """
        places = [place for place, given in enumerate(self.header) if given == name]
        if len(places) > 1:
            raise InputError(f"{self.path}: {len(places)} columns are named {name!r}: give each a name of its own")
        if places and self.columns[places[0]] in self.unreadable:
            raise InputError(f"{self.path}: column {name!r} has more than 38 digits: write it with fewer")
        if places:
            return self.columns[places[0]]
        if name in self.columns:
            return name
        raise unknown_name("column", name, [n for n in self.header if n] or list(self.columns), f"in {self.path}")


@contextlib.contextmanager
def open_file(path: str | Path, *, encoding: str | None = None) -> Iterator[FileTable]:
    """Open a CSV (plain or gzip; UTF-8, GB18030, UTF-16) or Parquet file.

    Args:
        path: the file.
        encoding: name of the text encoding; found out when ``None``.

    Raises:
        InputError: when the file is missing, empty or unreadable.
    """
    file, shown = Path(path), printable(path)
    if not file.exists():
        raise InputError(f"{shown}: no such file")
    if file.is_dir():
        raise InputError(f"{shown}: is a folder; name a CSV or Parquet file")
    with _scratch() as scratch, connect(scratch) as connection:
        try:
            file = _within_reach(file, Path(scratch))
            with file.open("rb") as raw:
                magic = raw.read(4)
        except OSError as error:
            raise InputError(f"{shown}: cannot be read: {error.strerror}") from error
        if not magic:
            raise InputError(f"{shown}: the file is empty")
        for start, what in OTHER_MAGIC.items():
            if magic.startswith(start):
                raise InputError(f"{shown}: is {what}; save it as CSV (UTF-8), gzipped CSV or Parquet")
        if magic == PARQUET_MAGIC:
            yield _register_parquet(connection, file, shown)
        else:
            yield _register_csv(connection, _in_utf8(file, shown, encoding, Path(scratch)), shown)


def printable(path: str | Path) -> str:
    """Return a path as text that can be printed and stored, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _within_reach(file: Path, scratch: Path) -> Path:
    """Return a path that can be read as often as needed, and that the engine can be told."""
    if not file.is_file():  # a pipe or a device: it gives its bytes once
        with file.open("rb") as source, (scratch / "piped").open("wb") as target:
            shutil.copyfileobj(source, target)
        return scratch / "piped"
    if printable(file) != str(file):
        (scratch / "named").symlink_to(file.absolute())
        return scratch / "named"
    return file


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="equipoise-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(f"no folder for temporary files ({error.strerror}): set TMPDIR to one you can write") from None
    with folder as name:
        yield name


def _in_utf8(file: Path, shown: str, encoding: str | None, scratch: Path) -> Path:
    """Return the file itself, or a copy of it in UTF-8 with one kind of line end."""
    found = encoding or detect_encoding(file, shown)
    mixed = has_mixed_line_ends(file)
    if found.lower().replace("_", "-") in ("utf-8", "utf8") and not mixed:
        return file
    plain = scratch / "decoded.csv"
    try:
        transcode(file, found, plain, shown, one_line_end=mixed)
    except (EOFError, zlib.error) as error:
        raise InputError(f"{shown}: cannot be read ({error}): check that the file is complete") from error
    except OSError as error:
        raise InputError(
            f"{shown}: cannot be decoded into the folder for temporary files ({error}); set TMPDIR to one with space"
        ) from error
    return plain


VIEW = "equipoise_file"
CSV_FAULTS = {
    "unterminated quote": 'a quote (") is not closed, or text follows it; write "" for a quote within quotes',
    "Maximum line size": "longer than 2 MB; is a quote missing?",
    "Invalid unicode": "is not UTF-8: save the file as UTF-8, or name its encoding with --encoding",
}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(file: Path) -> str:
    # DuckDB takes * ? [ in a path as patterns; brackets quote them.
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(file))
    return _literal(pattern)


def _register_csv(connection: Any, file: Path, shown: str) -> FileTable:
    layout = find_layout(file, shown)
    columns = unique_names(layout.header, (ROW,))
    kinds = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in columns)
    with file.open("rb") as raw:
        compression = ", compression='gzip'" if raw.read(2) == GZIP_MAGIC else ""
    reader = (
        f"read_csv({_quoted(file)}, auto_detect=false, header=true, skip={layout.skip_lines}, "
        f"delim={_literal(layout.delimiter)}, quote='\"', escape='\"', columns={{{kinds}}}{compression})"
    )
    _create_view(connection, reader, shown)
    return FileTable(shown, connection, connection.table(VIEW), columns, is_text=True, header=layout.header)


def _register_parquet(connection: Any, file: Path, shown: str) -> FileTable:
    header, too_wide = _parquet_columns(connection, file, shown)
    numbered = PARQUET_ROW not in {name.casefold() for name in header}
    option = ", file_row_number=true" if numbered else ""
    _create_view(connection, f"read_parquet({_quoted(file)}{option})", shown)
    columns = tuple(connection.table(VIEW).columns)[: len(header)]
    for name in columns:
        if name.casefold() == ROW:
            connection.raw_sql(
                f'CREATE OR REPLACE TEMP VIEW {VIEW} AS SELECT * RENAME ("{name}" AS "{name}_1") '  # noqa: S608 - our own name
                f"FROM read_parquet({_quoted(file)}{option})"
            )
    table = connection.table(VIEW)
    columns = tuple(table.columns)[: len(header)]
    return FileTable(
        shown,
        connection,
        table,
        columns,
        is_text=False,
        header=header,
        row=PARQUET_ROW if numbered else None,
        unreadable=frozenset(columns[place] for place in too_wide),
    )


def _parquet_columns(connection: Any, file: Path, shown: str) -> tuple[tuple[str, ...], set[int]]:
    """Return the names of the columns as they stand in the file, and the places of decimals beyond 38 digits."""
    import duckdb

    try:
        found = connection.raw_sql(
            f"SELECT name, COALESCE(num_children, 0), COALESCE(precision, 0) FROM parquet_schema({_quoted(file)})"  # noqa: S608
        ).fetchall()
    except duckdb.Error as error:
        raise InputError(f"{shown}: cannot be read: {first_line(error)}") from error
    names: list[str] = []
    too_wide = set()
    below = 0  # nodes of the present column's tree that are still to come
    for name, children, precision in found[1:]:
        if below == 0:
            if precision > MOST_DIGITS:
                too_wide.add(len(names))
            names.append(str(name))
            below = 1
        below += int(children) - 1
    return tuple(names), too_wide


def _create_view(connection: Any, reader: str, shown: str) -> None:
    import duckdb

    try:
        # ``reader`` holds nothing but our own words, and names and the path in quotes.
        connection.raw_sql(f"CREATE TEMP VIEW {VIEW} AS SELECT * FROM {reader}")  # noqa: S608
    except duckdb.Error as error:
        raise InputError(f"{shown}: cannot be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    r"""Return the sentence of a DuckDB error without its hints and SQL.

    >>> first_line(ValueError("Invalid Input Error: CSV Error on Line: 3\nOriginal Line: 1\n"
    ...     "Expected Number of Columns: 2 Found: 1\nPossible fixes: …"))
    'line 3: 1 cells where the header has 2'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    first = lines[0].split("Error: ", 1)[-1].rstrip(".")
    at = re.fullmatch(r"CSV Error on Line: (\d+)", first)
    if at is None:
        if "CSV Parser state machine" in first:
            return "its line ends are of two kinds (CRLF and LF): save it with one kind"
        return first
    for line in lines[1:]:
        widths = re.match(r"Expected Number of Columns: (\d+) Found: (\d+)", line)
        if widths is not None:
            return f"line {at[1]}: {widths[2]} cells where the header has {widths[1]}"
        for mark, meaning in CSV_FAULTS.items():
            if mark in line:
                return f"line {at[1]}: {meaning}"
    return f"line {at[1]} cannot be parsed"
