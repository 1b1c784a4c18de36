"""What only RabbitMQ's management API can tell: which bindings there are."""

import asyncio
import json
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from carillon_shared.topology.model import Binding

_TIMEOUT_SECONDS = 10
_DEFAULT_PORT = 15672


def management_url_of(broker_url: str) -> str:
    """Return where the management API usually is: same host and user, port 15672."""
    place = urlsplit(broker_url)
    login = f"{place.username}:{place.password}@" if place.username else ""
    return f"http://{login}{place.hostname or 'localhost'}:{_DEFAULT_PORT}"


def vhost_of(broker_url: str) -> str:
    """Return the virtual host an AMQP URL names."""
    return unquote(urlsplit(broker_url).path.removeprefix("/")) or "/"


async def read_bindings(management_url: str, vhost: str) -> frozenset[Binding] | None:
    """Return every binding from a named exchange to a queue, or None when the API does not answer."""
    try:
        found = await asyncio.to_thread(_get, management_url, f"/api/bindings/{quote(vhost, safe='')}")
    except (OSError, ValueError):
        return None
    return frozenset(
        Binding(item["source"], item["destination"], item["routing_key"])
        for item in found
        if item["destination_type"] == "queue" and item["source"]
    )


def _get(base: str, path: str) -> Any:
    place = urlsplit(base)
    if place.scheme not in {"http", "https"}:
        raise ValueError(f"{place.scheme!r} is no scheme of a management API")
    address = place._replace(netloc=place.netloc.rpartition("@")[2], path=place.path.rstrip("/") + path)
    request = urllib.request.Request(address.geturl())  # noqa: S310 - the scheme was looked at above
    if place.username:
        login = f"{unquote(place.username)}:{unquote(place.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
        return json.load(answer)
