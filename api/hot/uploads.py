"""``POST /v1/experiments/KEY/assignments``: a list in, a job out; its state; and the file that it makes.

What needs the store runs on threads that are there for it, a few at a time, and imports it only then: the process that
serves decisions stays light until somebody sends a list.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote
from weakref import WeakKeyDictionary

import msgspec

from allocation.decision import OccasionError
from api import logs
from api.errors import FieldProblem, Problem, near, unavailable
from api.hot.http import Receive, Scope, Send, header, send_json
from api.hot.list_job import ListJob, shown
from api.hot.spooling import Spooled, spooled
from experiments.assignments.balanceable import check_plan
from experiments.assignments.request import KIND, LIST, PARAMETERS, RESULT, ListRequest, read_request
from experiments.assignments.running import NotRunningError, check_running
from experiments.errors import InputError

if TYPE_CHECKING:
    from allocation.compiled import CompiledExperiment
    from api.node.state import Node
    from api.security.door import Caller
    from experiments.jobs.files import JobFile
    from experiments.jobs.queue import Job
    from experiments.store import Store

T = TypeVar("T")

MAX_UPLOAD_MB = 512
MAX_UPLOADS = 8
"""Lists that one process takes at the same time."""
MAX_THREADS = 2
"""Of them, those that go into the database at the same time."""
NEVER_RAN = frozenset({"draft", "review", "testing"})
_KEY = re.compile(r"/v1/experiments/([^/]+)/assignments(?:/([^/]+))?(?:/file)?")
_RESULT = re.compile(r"/v1/jobs/([^/]+)/result")
_JOB_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_log = logs.get("uploads")


class _Room:
    """What this process has under way."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store: Store | None = None
        self.threads = asyncio.Semaphore(MAX_THREADS)
        self.uploads = 0
        node.at_end(self._close)

    async def run(self, work: Callable[[Store], T]) -> T:
        """Run something that needs the store on a thread; its troubles become problems."""
        async with self.threads:
            return await asyncio.to_thread(self._guarded, work)

    def _guarded(self, work: Callable[[Store], T]) -> T:
        import sqlalchemy as sa

        from experiments.store import REQUEST, StoreError, failure, open_store

        try:
            if self._store is None:
                self._store = open_store(self._node.settings.database_url, REQUEST)
            return work(self._store)
        except (StoreError, sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            _log.error("store_failed", error=type(error).__name__, detail=failure(error))
            raise unavailable(
                "the database does not answer just now; come again in a second", code="store_away"
            ) from None

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()


_rooms: WeakKeyDictionary[Node, _Room] = WeakKeyDictionary()


def _room(node: Node) -> _Room:
    room = _rooms.get(node)
    if room is None:
        room = _rooms[node] = _Room(node)
    return room


def max_upload_bytes() -> int:
    """Return how large a list may be: ``EQUIPOISE_MAX_UPLOAD_MB``, by default 512."""
    text = os.environ.get("EQUIPOISE_MAX_UPLOAD_MB", "")
    return (int(text) if text.isascii() and text.isdigit() and int(text) else MAX_UPLOAD_MB) * 1_000_000


@contextlib.asynccontextmanager
async def incoming(node: Node, scope: Scope, receive: Receive) -> AsyncIterator[Spooled]:
    """Put a list on the disk for the time of the block.

    Raises:
        Problem: 408 and 413 for a list that cannot be taken, 503 when there is no room.
        ClientGone: when the caller hangs up.
    """
    room = _room(node)
    if room.uploads >= MAX_UPLOADS:
        raise unavailable("too many lists are coming in; come again in a minute", code="busy", retry_after_s=30)
    room.uploads += 1
    try:
        async with spooled(scope, receive, node.settings.data_dir / "uploads", limit=max_upload_bytes()) as body:
            yield body
    finally:
        room.uploads -= 1


def rarely(node: Node) -> asyncio.Semaphore:
    """Return what lists go through that go into the database at the same time."""
    return _room(node).threads


def empty_list() -> Problem:
    """Return the answer to a body without a byte."""
    return Problem(422, "the list is empty; send a CSV or Parquet file as the body", code="empty_list")


# ----------------------------------------------------------------------------------------------------------- taking in


async def take(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Take a list and answer 202 with its job, 200 when that is done already.

    Raises:
        Problem: 404 for an unknown experiment, 409 for one that does not run, 408, 413, 415 and 422 for a list or
            parameters that cannot be taken, 503 when there is no room or no database.
    """
    key, _ = _address(scope)
    plan = _plan(node, key)
    check_kind(scope)
    if plan.plan.state in NEVER_RAN:
        _check_running(plan, node.now_us())
    request = _request(key, "", scope)
    try:
        check_plan(request, plan)
    except InputError as error:
        raise _invalid(error) from None
    room = _room(node)
    async with incoming(node, scope, receive) as body:
        if not body.bytes:
            raise empty_list()
        request = msgspec.structs.replace(request, sha256=body.sha256)
        job, _ = await room.run(lambda store: _ask(store, request, body, caller, plan, scope, node.now_us()))
        file = await room.run(lambda store: _result(store, job))
    document = shown(job, has_file=file is not None)
    location = [(b"location", document.links.self.encode("latin-1"))]
    await _send(send, msgspec.json.encode(document), 200 if job.state == "done" else 202, location)


def _ask(
    store: Store, request: ListRequest, body: Spooled, caller: Caller, plan: CompiledExperiment, scope: Scope, now: int
) -> tuple[Job, bool]:
    from experiments.assignments.asking import PastSendError, ask

    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    try:
        return ask(
            store,
            request,
            body.path,
            name=f"{LIST}-{request.experiment}",
            media_type=kind[:100] if kind.isascii() and kind.isprintable() and kind else "application/octet-stream",
            created_by=caller.name,
            now=now,
            allowed=lambda: _check_running(plan, now),
        )
    except PastSendError as error:
        raise _invalid(error) from None


def check_kind(scope: Scope) -> None:
    """Refuse a form; other content types are not looked at, for few callers state the right one."""
    if (header(scope, b"content-type") or "").lower().startswith("multipart/form-data"):
        advice = "send the file itself as the body, not a form (curl -T FILE, not -F)"
        raise Problem(415, advice, code="unsupported_media_type")


def _plan(node: Node, key: str) -> CompiledExperiment:
    compiled = node.compiled
    if compiled is None:
        raise unavailable("nothing has been published on this node yet", code="no_snapshot")
    plan = compiled.experiments.get(key)
    if plan is None and key in compiled.refused:
        raise Problem(409, f"this node cannot decide the experiment: {compiled.refused[key]}", code="refused")
    if plan is None:
        advice = near(key, compiled.experiments) or "GET /v1/experiments lists what there is"
        raise Problem(404, f"no experiment of this key is published; {advice}", code="unknown_experiment")
    return plan


def _check_running(plan: CompiledExperiment, now: int) -> None:
    try:
        check_running(plan, now)
    except NotRunningError as error:
        raise Problem(409, str(error), code="not_running") from None


def _request(key: str, sha256: str, scope: Scope) -> ListRequest:
    query: bytes = scope["query_string"]
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise Problem(422, "the query cannot be read; write it in UTF-8, percent-encoded", code="invalid") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise Problem(422, "a parameter stands twice in the query; give each once", code="invalid")
    strangers = sorted(set(given) - set(PARAMETERS))
    if strangers:
        advice = near(strangers[0], PARAMETERS) or f"there are {', '.join(PARAMETERS)}"
        raise Problem(422, f"the query has a parameter that is not known here; {advice}", code="invalid")
    try:
        return read_request(key, sha256, given)
    except (InputError, OccasionError) as error:
        raise _invalid(error) from None


def _invalid(error: ValueError) -> Problem:
    name = str(error).partition(":")[0] if isinstance(error, InputError) else "occasion"
    return Problem(422, str(error), code="invalid", errors=[FieldProblem(f"/{name}", "invalid", str(error))])


# ------------------------------------------------------------------------------------------------------------- the job


async def status(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Answer how far a list's job is.

    Raises:
        Problem: 404 when the experiment has no such job.
    """
    key, identity = _address(scope)

    def look(store: Store) -> ListJob:
        job = _found(store, identity)
        if job.experiment != key or job.kind != KIND:
            raise _unknown_job()
        return shown(job, has_file=_result(store, job) is not None)

    await send_json(send, msgspec.json.encode(await _room(node).run(look)))


async def download(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Send the file that a job made, by parts.

    Raises:
        Problem: 404 for an unknown job, 409 while it is not done, 410 when its file is no longer kept.
    """
    match = _RESULT.fullmatch(scope["path"])
    key, identity = (None, match[1]) if match else _address(scope)

    def look(store: Store) -> JobFile:
        job = _found(store, identity)
        if key is not None and (job.experiment != key or job.kind != KIND):
            raise _unknown_job()
        return _finished(store, job)

    room = _room(node)
    file = await room.run(look)
    tag = f'"{file.sha256}"'
    asked = header(scope, b"if-none-match")
    headers = [
        (b"etag", tag.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-checksum-sha256", file.sha256.encode()),
        (b"repr-digest", b"sha-256=:" + base64.b64encode(bytes.fromhex(file.sha256)) + b":"),
    ]
    if asked is not None and (
        asked.strip() == "*" or tag in [part.strip().removeprefix("W/") for part in asked.split(",")]
    ):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    name = quote(file.name)
    headers += [
        (b"content-type", file.media_type.encode("latin-1", "replace")),
        (b"content-length", b"%d" % file.bytes),
        (b"content-disposition", f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}".encode("latin-1")),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["method"] != "HEAD":
        async for part in _parts(room, file):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _parts(room: _Room, file: JobFile) -> AsyncIterator[bytes]:
    """Yield a file's parts; between them no thread and no connection is held, however slowly they are taken."""
    from experiments.jobs import files

    parts: Any = None

    def following(store: Store) -> bytes | None:
        nonlocal parts
        if parts is None:
            parts = files.read(store, file)
        found: bytes | None = next(parts, None)
        return found

    while True:
        part = await room.run(following)
        if part is None:
            return
        yield part


def _found(store: Store, identity: str) -> Job:
    from experiments.jobs import queue

    if not _JOB_ID.fullmatch(identity):
        raise _unknown_job()
    try:
        return queue.get(store, identity)
    except queue.UnknownJobError:
        raise _unknown_job() from None


def _unknown_job() -> Problem:
    return Problem(404, "there is no such job", code="unknown_job")


def _result(store: Store, job: Job) -> JobFile | None:
    from experiments.jobs import files

    return files.find(store, job.id, RESULT) if job.state == "done" else None


def _finished(store: Store, job: Job) -> JobFile:
    file = _result(store, job)
    if file is not None:
        return file
    if job.state == "done":
        raise Problem(410, "the file is no longer kept; send the list again", code="file_gone")
    if job.state == "failed":
        raise Problem(409, f"the job failed: {job.error}", code="job_failed")
    if job.state == "cancelled":
        raise Problem(409, "the job was cancelled; send the list again", code="job_cancelled")
    raise Problem(409, f"the job is {job.state}; come again", code="job_not_done", headers={"Retry-After": "2"})


def _address(scope: Scope) -> tuple[str, str]:
    match = _KEY.fullmatch(scope["path"])
    if match is None:
        raise Problem(404, "there is nothing at this address; /v1/openapi.json lists what there is")
    return match[1], match[2] or ""


async def _send(send: Send, body: bytes, status_code: int, more: list[tuple[bytes, bytes]]) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
