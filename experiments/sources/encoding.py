"""Which character encoding a text file has, and how to read it as UTF-8.

Spreadsheets in China still write GB18030 (GBK); DuckDB reads UTF-8. A GB18030 file is decoded once, in pieces, into a
temporary UTF-8 file.
"""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zlib
from pathlib import Path
from typing import IO, cast

from experiments.errors import InputError

PIECE_BYTES = 1 << 20
SAMPLE_PIECES = 8
GZIP_MAGIC = b"\x1f\x8b"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, through gzip where its first bytes say so."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if zipped else path.open("rb")


def detect_encoding(path: Path, shown: str) -> str:
    """Return ``utf-8``, ``utf-16``, ``utf-16-le``, ``utf-16-be``, ``utf-32`` or ``gb18030``.

    The first 8 MB decide, or what follows them up to the first character beyond ASCII.

    Args:
        path: the file, plain or gzip.
        shown: its name in messages.

    Raises:
        InputError: when the bytes are none of them, or the gzip data are broken.
    """
    candidates = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "gb18030")}
    plain = True
    try:
        with open_bytes(path) as stream:
            for index in itertools.count():
                piece = stream.read(PIECE_BYTES)
                if index == 0 and (wide := _wide(shown, piece)):
                    return wide
                plain = plain and piece.isascii()
                for name in list(candidates):
                    try:
                        candidates[name].decode(piece, final=not piece)
                    except UnicodeDecodeError:
                        del candidates[name]
                if not piece or not candidates or (index + 1 >= SAMPLE_PIECES and not plain):
                    break
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{shown}: cannot be read ({error}): check that the file is complete") from error
    if not candidates:
        raise InputError(f"{shown}: neither UTF-8 nor GB18030: save it as UTF-8, or name its encoding")
    return next(iter(candidates))


def _wide(shown: str, start: bytes) -> str | None:
    """Return the encoding of text with two or four bytes a character, by its mark or by its zero bytes."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = start[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if 4 * max(even, odd) < len(sample):
        return None
    if min(even, odd) > 0:
        raise InputError(f"{shown}: is not text: name a CSV (plain or gzip) or Parquet file")
    return "utf-16-be" if even else "utf-16-le"


def has_mixed_line_ends(path: Path) -> bool:
    """Return whether the first 8 MB hold both CRLF and LF as line ends, which the engine cannot read together."""
    with open_bytes(path) as stream:
        start = stream.read(SAMPLE_PIECES * PIECE_BYTES)
    windows = start.count(b"\r\n")
    return 0 < windows < start.count(b"\n")


def transcode(path: Path, encoding: str, target: Path, shown: str, *, one_line_end: bool = False) -> None:
    """Write ``path`` as plain UTF-8 to ``target``.

    Args:
        path: the file, plain or gzip.
        encoding: of the file.
        target: where to.
        shown: the file's name in messages.
        one_line_end: end every line with LF.

    Raises:
        InputError: when a byte cannot be decoded, with its place, or the encoding has no such name.
    """
    try:
        plain = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise InputError(f"--encoding {encoding}: no such encoding; use utf-8 or gb18030") from None
    decoder = io.IncrementalNewlineDecoder(plain, translate=True) if one_line_end else plain
    with open_bytes(path) as stream, target.open("w", encoding="utf-8", newline="") as out:
        place = 0
        while True:
            piece = stream.read(PIECE_BYTES)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeError as error:
                start = getattr(error, "start", 0)
                raise InputError(
                    f"{shown}: byte {place + start} is not {encoding}: "
                    "save the file as UTF-8, or name its encoding with --encoding"
                ) from error
            out.write(text.removeprefix("\ufeff") if place == 0 else text)
            place += len(piece)
            if not piece:
                return
