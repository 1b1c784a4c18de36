"""Where webhooks may go: nowhere inside the network that the platform runs in, unless it was said so."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_RESOLVE_SECONDS: Final = 5.0
_NAT64: Final = IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(Exception):
    """This address must not be posted to."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: an address that was looked at, so that nobody can change it under us."""

    scheme: str
    host: str
    port: int
    address: str


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises ``OSError`` or ``TimeoutError``."""
    async with asyncio.timeout(_RESOLVE_SECONDS):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressGuard:
    """Says where webhooks may go. `allowed` are networks that may be posted to without being public."""

    def __init__(self, allowed: Sequence[Network], *, resolve: Resolve = resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def target(self, url: str) -> Target:
        """Look an address up, once, and return where to connect.

        All that a name resolves to must be permitted: a public and a private address are no honest name's.
        Raises `ForbiddenAddressError`, and ``OSError`` or ``TimeoutError`` when the name does not resolve.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ForbiddenAddressError("the address is neither http nor https")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = [ip_address(text.partition("%")[0]) for text in await self._resolve(parts.hostname, port)]
        if not found:
            raise ForbiddenAddressError(f"{parts.hostname} has no address")
        for address in found:
            self._check(address, scheme=parts.scheme)
        return Target(parts.scheme, parts.hostname, port, str(found[0]))

    def _check(self, address: Address, *, scheme: str) -> None:
        real = _embedded(address)
        if any(address in network or real in network for network in self._allowed):
            return
        if not _is_public(address) or not _is_public(real):
            raise ForbiddenAddressError(f"{address} is not a public address")
        if scheme != "https":
            raise ForbiddenAddressError("public addresses are posted to over https only")


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list such as ``10.0.0.0/8, 127.0.0.1``. Raises ``ValueError``."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
