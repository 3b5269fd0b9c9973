"""Where a deployment keeps its things: one data folder, one database, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Paths and addresses of one deployment (an environment, in the design's words).

    >>> Settings.from_env({"EQUIPOISE_DATA": "/srv/eq"}).database_url
    'sqlite:////srv/eq/equipoise.sqlite'
    """

    data_dir: Path
    """Folder for the embedded database, spools and snapshots. Must be on a local disk."""
    database_url: str
    """SQLAlchemy address: ``sqlite:///…`` or ``postgresql+psycopg://…``."""

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool files, one for each writing process."""
        return self.data_dir / "spool"

    @property
    def snapshot_dir(self) -> Path:
        """Folder of the published snapshots."""
        return self.data_dir / "snapshots"

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, data: str | None = None, database: str | None = None
    ) -> Settings:
        """Read ``EQUIPOISE_DATA`` (default ``./equipoise-data``) and ``EQUIPOISE_DATABASE_URL``; arguments win."""
        env = os.environ if environ is None else environ
        data_dir = Path(data or env.get("EQUIPOISE_DATA") or "equipoise-data").absolute()
        url = database or env.get("EQUIPOISE_DATABASE_URL") or f"sqlite:///{data_dir / 'equipoise.sqlite'}"
        if url.startswith(("postgresql://", "postgres://")):
            url = "postgresql+psycopg://" + url.split("://", 1)[1]
        return cls(data_dir=data_dir, database_url=url)
