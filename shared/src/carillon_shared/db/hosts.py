"""Connecting to the primary, wherever it is now: `postgresql://user@host-1:5432,host-2:5432/carillon`."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

_PASSES_OVER = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)


def one_url_each(url: str) -> list[str]:
    """Return one URL for each host that `url` names, in its order."""
    place = urlsplit(url)
    login, at, hosts = place.netloc.rpartition("@")
    return [urlunsplit(place._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


class Hosts:
    """The hosts of one URL. The one that answered last is asked first.

    The driver would give all of the time to the first host, so that one that is switched off, and answers
    nothing at all, kept it from ever asking the second. A standby is refused: a service that stayed connected
    to one could not write, and the standby would never end that connection. Of several hosts, one that was a
    primary and takes no writes any more is passed over too; where there is one only, it may still be read.
    """

    def __init__(self, url: str, *, seconds: float) -> None:
        self._urls = one_url_each(url)
        self._share = seconds / len(self._urls)
        only = len(self._urls) == 1
        self._wanted = SessionAttribute.primary if only else SessionAttribute.read_write

    async def connect(self, _url: object = None, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect within `seconds`, of which each host gets its share. Takes the options of asyncpg.

        Raises what the last host was not reached for: ``OSError`` or ``asyncpg.PostgresError``, or
        ``asyncpg.TargetServerAttributeNotMatched`` for a standby.
        """
        failure: Exception | None = None
        for url in tuple(self._urls):
            try:
                connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
                    url, timeout=self._share, target_session_attrs=self._attribute(url), **options
                )
            except _PASSES_OVER as error:
                failure = error
            else:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return connection
        assert failure is not None  # noqa: S101 - there is at least one host
        raise failure

    def _attribute(self, url: str) -> SessionAttribute | None:
        """Return which kind of server is wanted; None where the URL says so itself."""
        return None if "target_session_attrs=" in urlsplit(url).query else self._wanted
