"""A file's cells as text, in the file's order, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from experiments.errors import InputError
from experiments.sources.file import FileTable, first_line

BATCH_ROWS = 20_000
Cells = tuple[str | None, ...]


def query(file: FileTable, statement: str) -> list[tuple[Any, ...]]:
    """Run SQL over the file, which stands there as ``equipoise_file``.

    Raises:
        InputError: when the file cannot be read to its end.
    """
    import duckdb

    try:
        rows: list[tuple[Any, ...]] = file.connection.raw_sql(statement).fetchall()
    except duckdb.Error as error:
        raise InputError(f"{file.path}: cannot be read: {first_line(error)}; nothing was imported") from error
    return rows


def _as_text(name: str, kind: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    if kind.startswith("TIMESTAMP"):
        # Exact and without the session's time zone; a naive time stays naive.
        return f"epoch_us({column})::VARCHAR" if "TIME ZONE" in kind else f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%f')"
    return f"{column}::VARCHAR"


def _chosen(file: FileTable, columns: Sequence[str]) -> list[str]:
    kinds = {row[0]: str(row[1]) for row in query(file, "DESCRIBE equipoise_file")}
    return [_as_text(name, kinds[name]) for name in columns]


def count_rows(file: FileTable, columns: Sequence[str]) -> int:
    """Return the number of rows, having read every cell once: a broken file is found before anything is stored.

    Raises:
        InputError: naming the line that cannot be read, or saying that there is no row.
    """
    counted = "".join(f", count({part})" for part in _chosen(file, columns))
    total = query(file, f"SELECT count(*){counted} FROM equipoise_file")[0][0]  # noqa: S608 - columns of the file
    if not total:
        raise InputError(f"{file.path}: has a header but no rows")
    return int(total)


def batches(file: FileTable, columns: Sequence[str], *, skip: int) -> Iterator[tuple[int, list[Cells]]]:
    """Yield batches of rows in the file's order, each with the number of rows before it."""
    chosen = ", ".join(_chosen(file, columns)) or "1"
    cursor = file.connection.raw_sql(f"SELECT {chosen} FROM equipoise_file OFFSET {skip}")  # noqa: S608 - columns of the file
    done = skip
    while batch := cursor.fetchmany(BATCH_ROWS):
        yield done, batch if columns else [()] * len(batch)
        done += len(batch)
