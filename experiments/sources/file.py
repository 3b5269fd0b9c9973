"""A CSV, compressed CSV or Parquet file as an Ibis table on an embedded DuckDB."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import InputError, unknown_name
from experiments.sources.duck import connect
from experiments.sources.encoding import detect_encoding, transcode

PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class FileTable:
    """An open file: all columns of a CSV are text; a Parquet file keeps its types."""

    path: str
    connection: Any
    """Ibis connection (DuckDB)."""
    table: Any
    """Ibis table of the whole file, read where it lies."""
    columns: tuple[str, ...]
    is_text: bool

    def require(self, name: str) -> str:
        """Return ``name`` when the file has such a column.

        Raises:
            InputError: with the nearest names.
        """
        if name not in self.columns:
            raise unknown_name("column", name, self.columns, f"in {self.path}")
        return name


@contextlib.contextmanager
def open_file(path: str | Path, *, encoding: str | None = None) -> Iterator[FileTable]:
    """Open a CSV (plain or gzip; UTF-8, GB18030, UTF-16) or Parquet file.

    Args:
        path: the file.
        encoding: name of the text encoding; found out when ``None``.

    Raises:
        InputError: when the file is missing, empty or unreadable.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{path}: no such file")
    if file.is_dir():
        raise InputError(f"{path}: is a folder; name a CSV or Parquet file")
    try:
        with file.open("rb") as raw:
            magic = raw.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not magic:
        raise InputError(f"{path}: the file is empty")
    with tempfile.TemporaryDirectory(prefix="equipoise-") as scratch, connect(scratch) as connection:
        if magic == PARQUET_MAGIC:
            yield _register(
                connection, str(path), f"read_parquet({_quoted(file)}, file_row_number=true)", is_text=False
            )
            return
        found = encoding or detect_encoding(file)
        if found.lower().replace("_", "-") not in ("utf-8", "utf8"):
            plain = Path(scratch) / "decoded.csv"
            transcode(file, found, plain)
            file = plain
        compression = ", compression='gzip'" if magic[:2] == b"\x1f\x8b" and file == Path(path) else ""
        reader = f"read_csv({_quoted(file)}, all_varchar=true, header=true, sample_size=20480{compression})"
        yield _register(connection, str(path), reader, is_text=True)


def _quoted(file: Path) -> str:
    # DuckDB takes * ? [ in a path as patterns; brackets quote them.
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(file))
    return "'" + pattern.replace("'", "''") + "'"


def _register(connection: Any, name: str, reader: str, *, is_text: bool) -> FileTable:
    import duckdb

    try:
        # ``reader`` holds nothing but our own words and the quoted path.
        connection.raw_sql(f"CREATE TEMP VIEW equipoise_file AS SELECT * FROM {reader}")  # noqa: S608
        table = connection.table("equipoise_file")
    except duckdb.Error as error:
        raise InputError(f"{name}: cannot be read: {first_line(error)}") from error
    columns = tuple(c for c in table.columns if is_text or c != "file_row_number")
    return FileTable(name, connection, table, columns, is_text)


def first_line(error: Exception) -> str:
    """Return the sentence of a DuckDB error without its hints and SQL."""
    line = str(error).strip().splitlines()[0]
    return line.split("Error: ", 1)[-1].rstrip(".")
