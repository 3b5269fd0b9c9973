"""Which character encoding a text file has, and how to read it as UTF-8.

Spreadsheets in China still write GB18030 (GBK); DuckDB reads UTF-8. A GB18030 file is decoded once, in pieces, into a
temporary UTF-8 file.
"""

from __future__ import annotations

import codecs
import gzip
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


def detect_encoding(path: Path) -> str:
    """Return ``utf-8``, ``utf-16`` or ``gb18030``, from the beginning of the file (8 MB).

    Raises:
        InputError: when the bytes are none of them, or the gzip data are broken.
    """
    candidates = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "gb18030")}
    try:
        with open_bytes(path) as stream:
            for index in range(SAMPLE_PIECES):
                piece = stream.read(PIECE_BYTES)
                if index == 0 and piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    return "utf-16"
                for name in list(candidates):
                    try:
                        candidates[name].decode(piece, final=not piece)
                    except UnicodeDecodeError:
                        del candidates[name]
                if not piece or not candidates:
                    break
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}): check that the file is complete") from error
    if not candidates:
        raise InputError(f"{path}: neither UTF-8 nor GB18030: save it as UTF-8, or name its encoding with --encoding")
    return next(iter(candidates))


def transcode(path: Path, encoding: str, target: Path) -> None:
    """Write ``path`` as plain UTF-8 to ``target``.

    Raises:
        InputError: when a byte cannot be decoded, with its place, or the encoding has no such name.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise InputError(f"--encoding {encoding}: no such encoding; use utf-8 or gb18030") from None
    with open_bytes(path) as stream, target.open("w", encoding="utf-8", newline="") as out:
        place = 0
        while True:
            piece = stream.read(PIECE_BYTES)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: byte {place + error.start} is not {encoding}: "
                    "save the file as UTF-8, or name its encoding with --encoding"
                ) from error
            out.write(text.removeprefix("\ufeff") if place == 0 else text)
            place += len(piece)
            if not piece:
                return
