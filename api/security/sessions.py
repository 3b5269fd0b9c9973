"""Sessions of the pages: a signed cookie that names the key somebody signed in with, and when it ends.

It holds no secret, and it is no more than its key: every request looks whether that still works, so that revoking a key
ends its sessions.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import threading
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer

from api.errors import unavailable
from api.security.door import Caller, Door
from experiments.security import key_text
from experiments.settings import Settings

COOKIE = "equipoise_session"
LASTS_US = 12 * 3_600_000_000
SECRET_FILE = "session.key"  # noqa: S105 - a file's name


class Sessions:
    """Signs and reads session cookies. The secret is read, or made, at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard = threading.Lock()
        self._serializer: URLSafeSerializer | None = None

    def start(self, selector: str, now: int) -> tuple[str, int]:
        """Return a cookie for the holder of a key, and the microsecond at which it ends."""
        ends = now + LASTS_US
        signed = self._signing().dumps([selector, ends])
        return signed if isinstance(signed, str) else signed.decode(), ends

    def selector(self, cookie: str, now: int) -> str | None:
        """Return the selector of the key that was signed in with, ``None`` for a cookie that is none or has ended."""
        if not cookie or len(cookie) > 512:
            return None
        try:
            selector, ends = self._signing().loads(cookie)
        except (BadSignature, ValueError, TypeError):
            return None
        return selector if isinstance(ends, int) and now < ends and key_text.SELECTOR.match(str(selector)) else None

    def caller(self, door: Door, cookie: str) -> Caller | None:
        """Return who has signed in, as long as the key that was signed in with works."""
        selector = self.selector(cookie, door.now_us())
        caller = None if selector is None else door.keys.caller(selector)
        if caller is None or (caller.expires_at is not None and caller.expires_at <= door.now_us()):
            return None
        return caller

    def _signing(self) -> URLSafeSerializer:
        with self._guard:
            if self._serializer is None:
                try:
                    self._serializer = URLSafeSerializer(
                        _secret(self._settings),
                        salt="equipoise session",
                        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
                    )
                except OSError:
                    raise unavailable(
                        "the data folder cannot keep the secret that signs sessions; or set EQUIPOISE_SECRET_KEY",
                        code="no_session_secret",
                    ) from None
            return self._serializer


def _secret(settings: Settings) -> str:
    """Return ``EQUIPOISE_SECRET_KEY``, else what a file of the data folder holds that only its owner can read.

    Every process of a host finds the same file: it appears whole, and the first one stays.
    """
    given = os.environ.get("EQUIPOISE_SECRET_KEY")
    if given:
        return given
    path = settings.data_dir / SECRET_FILE
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=settings.data_dir, prefix=f".{SECRET_FILE}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> str:
    text = path.read_text(encoding="ascii").strip()
    if len(text) < 32:
        raise OSError(f"{path} holds no secret; remove it, and another is made")
    return text
