"""An answer as soon as it is worked out, and what it waits for before it may be given."""

from __future__ import annotations

import asyncio
from typing import NamedTuple


class Begun(NamedTuple):
    """The JSON of an answer of status 200."""

    body: bytes
    wait: asyncio.Future[None] | None
    """The commit that must succeed first; others may wait for it too. ``None`` when nothing was written."""
