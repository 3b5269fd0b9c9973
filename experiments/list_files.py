"""How lists of members, and what is made of them, lie in files: their formats, and what a caller may say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from experiments.errors import InputError

Format = Literal["csv", "parquet"]
FORMATS: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
"""How a file can be written → its media type."""
MOST_NAME = 256


def read_format(text: str) -> Format:
    """Return the format that a parameter asks for.

    Raises:
        InputError: there is no such format.

    >>> read_format("parquet")
    'parquet'
    """
    for known in FORMATS:
        if text == known:
            return known
    raise InputError(f"format: is {text[:20]!r}; write csv or parquet")


def format_of(target: str | Path, option: str = "--output") -> Format:
    """Return the format that the ending of a file's name asks for.

    Args:
        target: the file to be.
        option: as it is written on the command line.

    Raises:
        InputError: there is no such format.

    >>> format_of("Audience.CSV")
    'csv'
    """
    ending = Path(target).suffix.lower().removeprefix(".")
    for known in FORMATS:
        if ending == known:
            return known
    raise InputError(f"{option} {target}: name a file that ends in .csv or .parquet")


def read_column(text: str | None) -> str | None:
    """Return the column of ids that a parameter names, ``None`` where it is to be guessed.

    Raises:
        InputError: no column is called so.
    """
    if text and (len(text) > MOST_NAME or not text.isprintable()):
        raise InputError("unit_column: is no name of a column")
    return text or None


def read_encoding(text: str | None) -> str | None:
    """Return the one name of a text encoding, ``None`` where it is to be found out.

    Raises:
        InputError: there is no such encoding.

    >>> read_encoding("GB18030"), read_encoding("UTF8"), read_encoding("")
    ('gb18030', 'utf-8', None)
    """
    import codecs

    if not text:
        return None
    try:
        return codecs.lookup(text).name
    except (LookupError, ValueError):
        raise InputError("encoding: is no text encoding; leave it out, or write utf-8 or gb18030") from None
