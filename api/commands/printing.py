"""Writing to standard output: documents as UTF-8 whatever the terminal speaks, text as well as the terminal can."""

from __future__ import annotations

import codecs
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from api.cli import UserError

PLAINER = {
    "▲": "^", "▼": "v", "○": "o", "✓": "+", "✗": "x", "·": "-", "−": "-", "–": "-", "—": "-", "…": "...",
    "χ": "chi", "²": "2", "±": "+/-", "×": "x", "≤": "<=", "≥": ">=", "¥": "CNY ", "€": "EUR ", "£": "GBP ",
    "₹": "INR ", "₩": "KRW ", "“": '"', "”": '"', "’": "'", "α": "alpha", "θ": "theta", "█": "#", "→": ">",
}  # fmt: skip
"""What stands for a sign that the terminal's encoding lacks; anything else becomes a question mark."""


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAINER.get(sign, "?") for sign in lacking), error.end


codecs.register_error("equipoise-plainer", _plainer)


def print_document(text: str) -> None:
    """Write JSON, CSV or HTML: UTF-8 always, so that what is redirected into a file can be read anywhere.

    Raises:
        UserError: when standard output cannot be written, such as a full disk.
    """
    with writing():
        click.echo(text.encode("utf-8", "replace"), nl=False)


@contextmanager
def writing() -> Iterator[None]:
    """Degrade what the terminal's encoding lacks, and say in one line why standard output cannot be written.

    Raises:
        UserError: when standard output cannot be written.
    """
    if sys.stdout is None:
        raise UserError("standard output is closed; name a file or a pipe to write to")
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="equipoise-plainer")
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        # What the buffer still holds would fail again when the interpreter ends.
        if reconfigure is not None:
            sys.stdout = None
        raise UserError(f"standard output cannot be written: {error.strerror}") from error
