"""Proxies between a running service and what it depends on.

    async with proxied(platform, "email-worker", Link.BROKER) as proxy:
        proxy.blackhole()

For several proxies that stay, hand `Links(...)` to a platform before it starts:

    links = Links(("api", Link.DATABASE), ("dispatcher", Link.BROKER))
    async with running_platform(..., before_start=links.lay) as platform, links:
        await links["api", Link.DATABASE].cut()
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from support.faults.fault_proxy import FaultProxy
from support.platform import Platform


class Link(StrEnum):
    """What a service depends on."""

    DATABASE = "database"
    BROKER = "broker"
    SMTP = "smtp"
    WHATSAPP = "whatsapp"


_URL = {
    Link.DATABASE: "CARILLON_DATABASE_URL",
    Link.BROKER: "CARILLON_BROKER_URL",
    Link.WHATSAPP: "CARILLON_WHATSAPP_API_URL",
}
_SMTP_HOST, _SMTP_PORT = "CARILLON_EMAIL_SMTP_HOST", "CARILLON_EMAIL_SMTP_PORT"
_USUAL_PORTS = {"postgresql": 5432, "amqp": 5672, "http": 80}


async def lay_link(platform: Platform, name: str, link: Link) -> FaultProxy:
    """Put a proxy between a service and what it depends on, from its next start on."""
    env = platform.environment(name)
    if link is Link.SMTP:
        proxy = FaultProxy(env[_SMTP_HOST], int(env[_SMTP_PORT]))
        await proxy.start()
        changed = {_SMTP_HOST: proxy.host, _SMTP_PORT: str(proxy.port)}
    else:
        place = urlsplit(env[_URL[link]])
        port = place.port or _USUAL_PORTS[place.scheme]
        proxy = FaultProxy(place.hostname or "127.0.0.1", port)
        await proxy.start()
        login = place.netloc.rpartition("@")[0]
        address = f"{login}@{proxy.host}:{proxy.port}" if login else f"{proxy.host}:{proxy.port}"
        changed = {_URL[link]: urlunsplit(place._replace(netloc=address))}
    platform.extra.setdefault(name, {}).update(changed)
    return proxy


@asynccontextmanager
async def proxied(platform: Platform, name: str, link: Link) -> AsyncIterator[FaultProxy]:
    """Restart a service behind a proxy; afterwards restart it without."""
    before = dict(platform.extra.get(name, {}))
    proxy = await lay_link(platform, name, link)
    try:
        await platform.restart(name)
        yield proxy
    finally:
        await proxy.heal()
        platform.extra[name] = before
        if name in platform.processes:
            await platform.restart(name)
        await proxy.close()


class Links:
    """Proxies that stay as long as their platform."""

    def __init__(self, *wanted: tuple[str, Link]) -> None:
        self._wanted = wanted
        self._proxies: dict[tuple[str, Link], FaultProxy] = {}

    def __getitem__(self, key: tuple[str, Link]) -> FaultProxy:
        return self._proxies[key]

    async def lay(self, platform: Platform) -> None:
        """Lay all of them; for `running_platform(before_start=...)`."""
        for name, link in self._wanted:
            self._proxies[name, link] = await lay_link(platform, name, link)

    async def heal(self) -> None:
        """Take every fault away."""
        for proxy in self._proxies.values():
            await proxy.heal()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._proxies.values():
            await proxy.close()
