"""Where a deployment keeps its things: one data folder, one database, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import InputError


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
    auth_required: bool = False
    """Whether requests need an API key even while none was ever made."""

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
        """Read ``EQUIPOISE_DATA`` (default ``./equipoise-data``) and ``EQUIPOISE_DATABASE_URL``; arguments win.

        ``EQUIPOISE_AUTH=required`` asks for API keys from the start, before the first is made.

        Raises:
            InputError: when ``EQUIPOISE_AUTH`` is another word: a misspelt one must not leave the service open.
        """
        env = os.environ if environ is None else environ
        data_dir = Path(data or env.get("EQUIPOISE_DATA") or "equipoise-data").absolute()
        url = database or env.get("EQUIPOISE_DATABASE_URL") or f"sqlite:///{data_dir / 'equipoise.sqlite'}"
        if url.startswith(("postgresql://", "postgres://")):
            url = "postgresql+psycopg://" + url.split("://", 1)[1]
        auth = env.get("EQUIPOISE_AUTH", "")
        if auth not in {"", "required"}:
            raise InputError(f"EQUIPOISE_AUTH is {auth!r}; set it to required, or leave it out")
        return cls(data_dir=data_dir, database_url=url, auth_required=bool(auth))
