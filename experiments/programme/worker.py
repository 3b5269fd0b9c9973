"""Computing the programme's return in a process of its own: DuckDB and an open store do not share one."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection

from experiments.jobs.child import Child
from experiments.programme.asking import ProgrammeOptions


class ProgrammeFailedError(RuntimeError):
    """It could not be computed; ``slow`` where it took too long."""

    def __init__(self, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.slow = slow


class ProgrammeWorker:
    """One computation at a time; whoever asks the same within a minute gets the same answer."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._turn = threading.Lock()
        self._last: tuple[ProgrammeOptions, int, bytes] | None = None

    def compute(self, options: ProgrammeOptions, now_us: int, *, timeout_s: float, fresh_us: int) -> bytes:
        """Return the document as JSON.

        Args:
            options: what is asked.
            now_us: the present, microseconds UTC.
            timeout_s: how long to wait for the turn, and then for the answer.
            fresh_us: how old an answer to the same question may be.

        Raises:
            ProgrammeFailedError: when it takes too long or fails.
        """
        if not self._turn.acquire(timeout=timeout_s):
            raise ProgrammeFailedError("another return is being computed", slow=True)
        try:
            last = self._last
            if last is not None and last[0] == options and 0 <= now_us - last[1] < fresh_us:
                return last[2]
            answer = self._ask(options, now_us, timeout_s)
            self._last = (options, now_us, answer)
            return answer
        finally:
            self._turn.release()

    def _ask(self, options: ProgrammeOptions, now_us: int, timeout_s: float) -> bytes:
        child = Child("equipoise-programme", _work, self._url, options, now_us)
        try:
            if not child.pipe.poll(timeout_s):
                raise ProgrammeFailedError(f"it took longer than {timeout_s:.0f} s", slow=True)
            found: bytes | str = child.pipe.recv()
        except (EOFError, OSError):
            raise ProgrammeFailedError("the process that computes it ended") from None
        finally:
            child.end()
        if isinstance(found, str):
            raise ProgrammeFailedError(found)
        return found


def _work(pipe: Connection, database_url: str, options: ProgrammeOptions, now_us: int) -> None:
    """Run in the process: send the document, or the name of what went wrong."""
    import msgspec

    from experiments.programme.build import build_programme
    from experiments.store import open_store

    try:
        store = open_store(database_url)
        pipe.send(msgspec.json.encode(build_programme(store, options, now_us)))
    except Exception as error:  # noqa: BLE001 - told to the parent, who logs it without its message
        pipe.send(type(error).__name__)
