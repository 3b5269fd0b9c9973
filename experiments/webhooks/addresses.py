"""Which addresses a webhook may reach: none inside, whatever a name resolves to at the moment of sending.

The one who sets a webhook chooses where this service sends requests from inside the network. So a name is resolved
once, its addresses are looked at, and the connection is made to the very address that was looked at.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from experiments.errors import InputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ALLOW_PRIVATE = "EQUIPOISE_WEBHOOK_ALLOW_PRIVATE"
_OWN = f"; for receivers in your own network set {ALLOW_PRIVATE}=1"
MOST_CHARACTERS = 2000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INSIDE = tuple(
    map(ipaddress.ip_network, ("100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "64:ff9b:1::/48", "fec0::/10"))
)
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


class RefusedError(InputError):
    """An address that webhooks may not reach."""


def private_allowed(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether webhooks may reach private addresses: ``EQUIPOISE_WEBHOOK_ALLOW_PRIVATE=1``."""
    return (os.environ if environ is None else environ).get(ALLOW_PRIVATE) == "1"


def parsed(url: str, *, allow_private: bool = False) -> SplitResult:
    """Return the parts of a webhook's address.

    Raises:
        RefusedError: when it cannot be one; a name is not resolved here.

    >>> parsed("ftp://a.example")
    Traceback (most recent call last):
    experiments.webhooks.addresses.RefusedError: a webhook's address begins with https:// or http://
    >>> parsed("http://169.254.169.254/latest", allow_private=True)
    Traceback (most recent call last):
    experiments.webhooks.addresses.RefusedError: 169.254.169.254 is not an address that webhooks may reach
    """
    if len(url) > MOST_CHARACTERS or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise RefusedError(f"a webhook's address is at most {MOST_CHARACTERS} ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedError("the address of the webhook cannot be read; give https://HOST/PATH") from None
    if parts.scheme not in {"https", "http"}:
        raise RefusedError("a webhook's address begins with https:// or http://")
    if not host or port == 0:
        raise RefusedError("the address of the webhook names no host; give https://HOST/PATH")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise RefusedError("a webhook's address has no user, password or fragment; the signature proves who sends")
    literal = _literal(host)
    if literal is not None:
        _refuse(literal, allow_private)
    elif host.rstrip(".") in _LOCAL_NAMES and not allow_private:
        raise RefusedError(f"{host} is not an address that webhooks may reach{_OWN}")
    return parts


def resolve(host: str, port: int, *, allow_private: bool, wait_s: float) -> list[tuple[socket.AddressFamily, Address]]:
    """Return the addresses of a host, every one of which may be reached.

    Args:
        host: name or literal address.
        port: for the resolver.
        allow_private: whether private addresses may be reached too.
        wait_s: how long the resolver is waited for.

    Raises:
        RefusedError: when one of them may not be reached.
        OSError: when the name cannot be resolved in time.
    """
    found: list[tuple[socket.AddressFamily, Address]] = []
    for family, _, _, _, place in _looked_up(host, port, wait_s):
        address = ipaddress.ip_address(str(place[0]))
        _refuse(address, allow_private)
        found.append((family, address))
    return found


def forbidden(address: Address, *, allow_private: bool = False) -> bool:
    """Tell whether an address is one of a machine itself, of a private or shared network, or of no single machine.

    Addresses of IPv6 that carry one of IPv4 are judged by both.

    >>> [forbidden(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::ffff:10.0.0.1", "100.64.0.1", "93.184.215.14")]
    [True, True, True, False]
    """
    return any(_forbidden(each, allow_private) for each in _meanings(address))


def _forbidden(address: Address, allow_private: bool) -> bool:
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return True  # the metadata service of a cloud is here; nobody's own network needs it
    inside = any(address in network for network in _INSIDE if network.version == address.version)
    return (inside or not address.is_global or address.is_reserved) and not allow_private


def _meanings(address: Address) -> Iterator[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    carried: list[Address] = [a for a in (address.ipv4_mapped, address.sixtofour) if a is not None]
    if address.teredo is not None:
        carried.append(address.teredo[1])
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    yield from carried
    if address.ipv4_mapped is None:
        yield address


def _refuse(address: Address, allow_private: bool) -> None:
    if forbidden(address, allow_private=allow_private):
        advice = "" if forbidden(address, allow_private=True) else _OWN
        raise RefusedError(f"{address} is not an address that webhooks may reach{advice}")


def _literal(host: str) -> Address | None:
    """Return a host that is an address, also in the old ways of writing that resolvers still take (``127.1``)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _looked_up(
    host: str, port: int, wait_s: float
) -> list[tuple[socket.AddressFamily, int, int, str, tuple[str, int]]]:
    """Resolve a name on a thread of its own: a resolver that does not answer cannot be interrupted, only left."""
    answer: list[object] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, name="equipoise-resolve", daemon=True)
    thread.start()
    thread.join(wait_s)
    if not answer:
        raise OSError("the name was not resolved in time")
    if isinstance(answer[0], Exception):
        raise OSError("the name cannot be resolved") from answer[0]
    return answer[0]  # type: ignore[return-value]
