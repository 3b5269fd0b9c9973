"""Where a deployment keeps its things: one data folder, one database, read from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import InputError

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
_PUBLIC = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


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
    public_url: str | None = None
    """Where callers reach the service, for links in answers; ``None`` makes them relative."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask the addresses made for browsers; ``*`` is all of them."""

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
        ``EQUIPOISE_PUBLIC_URL`` and ``EQUIPOISE_CORS_ORIGINS`` (separated by commas) are for browsers and links.

        Raises:
            InputError: when ``EQUIPOISE_AUTH`` is another word: a misspelt one must not leave the service open. When
                an address is none.
        """
        env = os.environ if environ is None else environ
        data_dir = Path(data or env.get("EQUIPOISE_DATA") or "equipoise-data").absolute()
        url = database or env.get("EQUIPOISE_DATABASE_URL") or f"sqlite:///{data_dir / 'equipoise.sqlite'}"
        if url.startswith(("postgresql://", "postgres://")):
            url = "postgresql+psycopg://" + url.split("://", 1)[1]
        auth = env.get("EQUIPOISE_AUTH", "")
        if auth not in {"", "required"}:
            raise InputError(f"EQUIPOISE_AUTH is {auth!r}; set it to required, or leave it out")
        public = env.get("EQUIPOISE_PUBLIC_URL") or None
        if public is not None and not _PUBLIC.fullmatch(public):
            raise InputError(f"EQUIPOISE_PUBLIC_URL is {public!r}; write it like https://equipoise.example.com")
        origins = tuple(text.strip() for text in env.get("EQUIPOISE_CORS_ORIGINS", "").split(",") if text.strip())
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"EQUIPOISE_CORS_ORIGINS has {origin!r}; an origin is like https://shop.example.com, with no path"
                )
        return cls(data_dir, url, bool(auth), public, origins)
