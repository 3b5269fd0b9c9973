"""How a CSV is laid out: its delimiter, the line of its header, and a name for every column.

The engine's own guess is not used: it takes the delimiter and the quoting of the first rows for the whole file, and a
later row that is quoted, or one that is too short, would move the header or lose the row.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import InputError
from experiments.sources.encoding import open_bytes

DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 4 << 20
HEAD_RECORDS = 200
MOST_LINES_ABOVE = 20
"""Lines of a title or a note above the header that are passed over."""


@dataclass(frozen=True)
class Layout:
    """The shape of a CSV in UTF-8."""

    delimiter: str
    skip_lines: int
    """Lines above the header."""
    header: tuple[str, ...]
    """Names as they stand in the file."""


def find_layout(path: Path, shown: str) -> Layout:
    """Return the layout of a CSV in UTF-8, from its first 4 MB.

    The delimiter is the one that cuts most records into one and the same number (at least 2) of cells. Lines with fewer
    cells above the first such record are a title.

    Args:
        path: the file, plain or gzip.
        shown: its name in messages.

    Raises:
        InputError: when there is no header.
    """
    with open_bytes(path) as stream:
        raw = stream.read(HEAD_BYTES + 1)
    whole = len(raw) <= HEAD_BYTES
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(raw[:HEAD_BYTES], final=whole).removeprefix("\ufeff")
    first, _, rest = text.partition("\n")
    said = first.strip().removeprefix("sep=")
    if first.startswith("sep=") and len(said) == 1:  # what Excel writes above its header
        found, above = _records(rest, said, whole=whole), 1
    else:
        best = max(DELIMITERS, key=lambda d: _quality(_records(text, d, whole=whole)))
        found, above, said = _records(text, best, whole=whole), 0, best
    if not found:
        raise InputError(f"{shown}: has no header line; the first line must name the columns")
    cells, last_line = found[_header(found)]
    lines = 1 + sum(len(cell.splitlines()) - 1 for cell in cells if cell)
    return Layout(said, above + last_line - lines, tuple(name.strip() for name in cells))


def _records(text: str, delimiter: str, *, whole: bool) -> list[tuple[list[str], int]]:
    """Return the first records that are not blank, each with the number of the line on which it ends."""
    found: list[tuple[list[str], int]] = []
    csv.field_size_limit(HEAD_BYTES + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((cells, reader.line_num))
            if len(found) == HEAD_RECORDS:
                return found
    except csv.Error:
        pass
    # The piece of the file may end within a record.
    return found if whole or len(found) < 2 else found[:-1]


def _usual_width(records: Sequence[tuple[list[str], int]]) -> tuple[int, int]:
    """Return how many records have the commonest number of cells, and that number."""
    counted = Counter(len(cells) for cells, _ in records)
    width, times = max(counted.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return times, width


def _quality(records: Sequence[tuple[list[str], int]]) -> tuple[float, int]:
    times, width = _usual_width(records)
    return (times / len(records), width) if width > 1 else (0.0, 0)


def _header(records: Sequence[tuple[list[str], int]]) -> int:
    """Return the place of the header among the records: the first, or the first behind a title."""
    times, width = _usual_width(records)
    if times < 2 or width < 2:
        return 0
    for place, (cells, _) in enumerate(records[: MOST_LINES_ABOVE + 1]):
        named = sum(bool(cell.strip()) for cell in cells)
        if len(cells) >= width and named > 1:
            return place
        if named > 1 + width // 2:
            return 0  # a header that lacks a name or two, not a title
    return 0


def unique_names(header: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a name for every column that no other has, whatever its case, as SQL wants it.

    >>> unique_names(["g", "spend", "Spend", "", "spend"])
    ('g', 'spend', 'Spend_1', 'column3', 'spend_2')
    """
    used = {name.casefold() for name in taken}
    names = []
    for place, given in enumerate(header):
        base = name = given or f"column{place}"
        number = 0
        while name.casefold() in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name.casefold())
        names.append(name)
    return tuple(names)
