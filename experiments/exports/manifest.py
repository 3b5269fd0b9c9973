"""The manifest of exported files: what there is, with checksums; also how it is known which days changed since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.atomic import replacing
from experiments.errors import InputError
from experiments.exports.schema import VERSION

NAME = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One exported file."""

    file: str
    """Its path below the folder of the manifest."""
    rows: int
    """Lines in the file."""
    stored: int
    """Rows of the store that they were made of: as long as there are as many, nothing has changed."""
    bytes: int
    sha256: str


class Manifest:
    """The manifest of one folder; each change is on the disk at once."""

    def __init__(self, folder: Path) -> None:
        """Read it, where there is one.

        Raises:
            InputError: when the folder has a manifest that is none of ours.
        """
        self._path = folder / NAME
        self.entries: dict[tuple[str, str], Entry] = {}
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return
        try:
            content = json.loads(text)
            if content["schema"] != VERSION:
                return  # files of another schema are written anew
            for table, days in content["tables"].items():
                self.entries |= {(table, day): Entry(**entry) for day, entry in days.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{self._path} is no manifest of exports: give another folder, or remove the file"
            ) from None

    def current(self, table: str, day: str, stored: int) -> bool:
        """Tell whether the file of a day is there and nothing has come to that day since."""
        entry = self.entries.get((table, day))
        if entry is None or entry.stored != stored:
            return False
        try:
            return (self._path.parent / entry.file).stat().st_size == entry.bytes
        except OSError:
            return False

    def put(self, table: str, day: str, entry: Entry) -> None:
        """Write down a file."""
        self.entries[table, day] = entry
        tables: dict[str, dict[str, Any]] = {}
        for (name, each_day), each in sorted(self.entries.items()):
            tables.setdefault(name, {})[each_day] = each.__dict__
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps({"schema": VERSION, "tables": tables}, indent=1) + "\n", encoding="utf-8")
