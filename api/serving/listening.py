"""The sockets of a host, bound before anything else so that a taken port is said at once."""

from __future__ import annotations

import ipaddress
import socket

from api.cli import UserError

BACKLOG = 1024
METRICS_DEFAULT = "127.0.0.1:9464"


def listen_for(workers: int, host: str, port: int) -> list[socket.socket]:
    """Return a listening socket for each serving process, all at one address.

    The kernel spreads new connections over them. (From one shared socket, whoever wakes first takes all that wait:
    measured 45 of 64 for one process of four.) The supervisor keeps them open, so that connections to a process that
    died wait for the one that replaces it.

    Raises:
        UserError: when the address is not ours, or taken.
    """
    first = listen(host, port)
    if workers == 1:
        return [first]
    # The address is free, or this would have failed: sockets that may share one do not see each other.
    address = first.getsockname()[:2]
    first.close()
    return [listen(address[0], address[1], shared=True) for _ in range(workers)]


def listen(host: str, port: int, option: str = "--host or --port", *, shared: bool = False) -> socket.socket:
    """Return a listening socket.

    Args:
        host: name or address of this machine.
        port: 0 takes a free one.
        option: what the user can change, for the message.
        shared: whether others may listen at the same address.

    Raises:
        UserError: when the address is not ours, or taken.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"{option.split()[0]} {host}: not an address of this machine ({error})") from None
    listening = socket.socket(family, kind, proto)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == 98:
            other = option.split()[-1]
            raise UserError(f"port {port} is taken on {host}; stop what listens there or choose {other}") from None
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another {option}") from None
    return listening


def listen_for_metrics(address: str | None) -> tuple[socket.socket | None, str | None]:
    """Return the socket for metrics, if any, and a warning when the default address is taken.

    Args:
        address: ``HOST:PORT``, ``off``, or ``None`` for the default, without which the service does.

    Raises:
        UserError: when an address that was asked for is none, or cannot be had.
    """
    if address == "off":
        return None, None
    host, _, port = (address or METRICS_DEFAULT).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise UserError(f"--metrics {address}: give HOST:PORT, such as {METRICS_DEFAULT}, or off")
    try:
        return listen(host.strip("[]"), int(port), "--metrics"), None
    except UserError as error:
        if address is not None:
            raise
        return None, f"no metrics: {error.message}"


def address_of(listening: socket.socket) -> str:
    """Return the address as people write it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def exposed_at(listening: socket.socket) -> str | None:
    """Return the address where other machines may reach it; ``None`` where only this one can."""
    if ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
        return None
    return address_of(listening)
