"""A process's whole relation to the broker."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from carillon_shared.broker.consumer import Subscription
from carillon_shared.broker.consumer_watch import ConsumerWatch
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.link import Link, Purpose
from carillon_shared.broker.live import LiveSubscription
from carillon_shared.broker.publisher import Publisher
from carillon_shared.broker.topology_watch import TopologyWatch
from carillon_shared.broker.window import QueueGauge, QueueWindow
from carillon_shared.clock import Clock, SystemClock
from carillon_shared.topology.model import Topology


class BrokerSession:
    """Up to two connections, one to publish and one to consume, each kept up while the session is open.

    A connection is made only when something uses it: `publisher` or a subscription. Everything may be
    created before or after `start`; the broker may be away at any time.

    Attributes:
        clock: tells when a message was published; the machine's own until it is set.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        heartbeat: int = 15,
        connect_timeout: float = 10.0,
        window: int = 256,
        confirm_timeout: float = 10.0,
    ) -> None:
        self.clock: Clock = SystemClock()
        self._url = url
        self._name = name
        self._heartbeat = heartbeat
        self._connect_timeout = connect_timeout
        self._window = window
        self._confirm_timeout = confirm_timeout
        self._links: dict[Purpose, Link] = {}
        self._publisher: Publisher | None = None
        self._subscriptions: list[Subscription | LiveSubscription] = []
        self._watches: list[TopologyWatch] = []
        self._started = False
        self._on_change: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        """True while every connection in use is up."""
        return all(link.connected for link in self._links.values())

    @property
    def blocked(self) -> bool:
        """True while the broker takes no publishes for lack of memory or disk."""
        return any(link.blocked for link in self._links.values())

    @property
    def publisher(self) -> Publisher:
        """The one publisher of this process."""
        if self._publisher is None:
            self._publisher = Publisher(
                self._link("publish"),
                app_id=self._name,
                window=self._window,
                confirm_timeout=self._confirm_timeout,
                now=lambda: self.clock.now().timestamp(),
            )
            self._start_if_started(self._publisher)
        return self._publisher

    def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        """Return a subscription to a queue, on a broker channel of its own."""
        subscription = Subscription(self._link("consume"), queue, prefetch=prefetch)
        self._subscriptions.append(subscription)
        self._start_if_started(subscription)
        return subscription

    def consume_exclusive(
        self, exchange: str, *, on_gap: Callable[[], None], max_length: int = 10_000
    ) -> LiveSubscription:
        """Return a subscription through a transient queue of our own, bound to this exchange."""
        subscription = LiveSubscription(self._link("consume"), exchange, on_gap=on_gap, max_length=max_length)
        self._subscriptions.append(subscription)
        self._start_if_started(subscription)
        return subscription

    def watch(self, topology: Topology) -> TopologyWatch:
        """Return a watch over these exchanges and queues, and over all subscriptions."""
        watch = TopologyWatch(self._link("consume"), topology, ConsumerWatch(self._lasting, clock=self.clock))
        self._watches.append(watch)
        self._start_if_started(watch)
        return watch

    def gauge(self, queue: str) -> QueueGauge:
        """Return a gauge of a queue."""
        return QueueGauge(self._link("consume"), queue)

    def window(self, queue: str, *, size: int) -> QueueWindow:
        """Return a window that keeps a queue short."""
        return QueueWindow(self.gauge(queue), size=size)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever `connected` or `blocked` may have changed."""
        self._on_change.append(callback)

    async def wait_connected(self) -> None:
        """Return when every connection in use is up."""
        await asyncio.gather(*(link.wait_connected() for link in self._links.values()))

    async def ready(self) -> None:
        """Probe of a readiness check. Raises `BrokerError` while a connection or a queue is not there."""
        away = [purpose for purpose, link in self._links.items() if not link.connected]
        if away:
            raise BrokerError(f"no connection to {' and '.join(away)}")
        idle = [subscription.queue for subscription in self._subscriptions if not subscription.ready]
        if idle:
            raise BrokerError(f"not consuming from {', '.join(idle)}")

    async def start(self) -> None:
        """Begin connecting, in the background. Does not wait for the broker."""
        self._started = True
        for link in self._links.values():
            link.start()
        if self._publisher is not None:
            self._publisher.start()
        for part in (*self._subscriptions, *self._watches):
            part.start()

    async def close(self) -> None:
        """Close everything. What was not settled goes back to its queue."""
        self._started = False
        await asyncio.gather(*(part.close() for part in (*self._subscriptions, *self._watches)))
        if self._publisher is not None:
            await self._publisher.close()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _lasting(self) -> list[Subscription]:
        return [one for one in self._subscriptions if isinstance(one, Subscription)]

    def _link(self, purpose: Purpose) -> Link:
        link = self._links.get(purpose)
        if link is None:
            link = self._links[purpose] = Link(
                self._url,
                name=self._name,
                purpose=purpose,
                heartbeat=self._heartbeat,
                connect_timeout=self._connect_timeout,
            )
            link.on_change(self._changed)
            if self._started:
                link.start()
        return link

    def _start_if_started(self, part: Publisher | Subscription | LiveSubscription | TopologyWatch) -> None:
        if self._started:
            part.start()

    def _changed(self) -> None:
        for callback in self._on_change:
            callback()
