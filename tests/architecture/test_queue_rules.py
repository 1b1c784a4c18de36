"""What the design promises of every queue, read from the topology's data: no broker is needed."""

from collections.abc import Iterator
from itertools import product

import pytest
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology import carillon
from carillon_shared.topology.ladder import LADDER, tier_for
from carillon_shared.topology.model import Queue
from support.source_tree import shown, source_files, texts_in

TOPOLOGY = carillon.carillon_topology()
QUEUES = {queue.name: queue for queue in TOPOLOGY.queues}
WORKING = {
    *map(carillon.dispatch_queue, Lane),
    *map(carillon.fanout_queue, Lane),
    *(carillon.work_queue(channel, lane) for channel, lane in product(Channel, Lane)),
}
RETRY = {carillon.retry_exchange(tier): tier for tier in LADDER}
DEAD = {*map(carillon.dead_queue, Channel), carillon.DISPATCH_DEAD_QUEUE}
# What RabbitMQ 3.10 knows of quorum queues. `x-queue-mode`, priorities and 4.x arguments are not among it.
KNOWN_ARGUMENTS = {
    "x-queue-type",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-overflow",
    "x-delivery-limit",
    "x-message-ttl",
}
NAMES = set(QUEUES) | {exchange.name for exchange in TOPOLOGY.exchanges}


def test_every_queue_is_a_working_a_retry_or_a_dead_letter_queue() -> None:
    assert set(QUEUES) == WORKING | set(RETRY) | DEAD
    assert len(QUEUES) == len(TOPOLOGY.queues)


@pytest.mark.parametrize("queue", TOPOLOGY.queues, ids=lambda queue: queue.name)
def test_every_queue_is_replicated_and_runs_on_the_oldest_broker(queue: Queue) -> None:
    assert queue.arguments["x-queue-type"] == "quorum"
    assert set(queue.arguments) <= KNOWN_ARGUMENTS


@pytest.mark.parametrize("name", sorted(WORKING))
def test_a_working_queue_dead_letters_without_loss(name: str) -> None:
    arguments = QUEUES[name].arguments
    assert arguments["x-dead-letter-exchange"] == carillon.DEAD.name
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert arguments["x-overflow"] == "reject-publish"
    assert arguments["x-delivery-limit"] == 20
    assert "x-message-ttl" not in arguments


@pytest.mark.parametrize("name", sorted(WORKING))
def test_what_a_working_queue_gives_up_arrives_in_exactly_one_dead_letter_queue(name: str) -> None:
    keys = set(_keys_of_dead_letters(QUEUES[name]))
    assert keys
    for key in keys:
        found = [
            binding.queue
            for binding in TOPOLOGY.bindings
            if binding.exchange == carillon.DEAD.name and _matches(binding.routing_key, key)
        ]
        assert len(found) == 1, (name, key, found)
        assert found[0] in DEAD


@pytest.mark.parametrize("name", RETRY)
def test_a_retry_queue_gives_work_back_after_its_time_with_its_key(name: str) -> None:
    arguments = QUEUES[name].arguments
    assert arguments["x-message-ttl"] == RETRY[name].milliseconds
    assert arguments["x-dead-letter-exchange"] == carillon.WORK.name
    assert "x-dead-letter-routing-key" not in arguments
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert arguments["x-overflow"] == "reject-publish"
    assert "x-delivery-limit" not in arguments


@pytest.mark.parametrize("name", sorted(DEAD))
def test_a_dead_letter_queue_keeps_what_it_has(name: str) -> None:
    assert QUEUES[name].arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}


def test_every_queue_is_bound_to_an_exchange_that_exists() -> None:
    assert {binding.queue for binding in TOPOLOGY.bindings} == set(QUEUES)
    exchanges = {exchange.name for exchange in TOPOLOGY.exchanges}
    assert {binding.exchange for binding in TOPOLOGY.bindings} <= exchanges
    targets = {queue.arguments.get("x-dead-letter-exchange") for queue in TOPOLOGY.queues} - {None}
    assert targets <= exchanges


def test_the_ladder_rises_and_a_wait_is_never_overshot() -> None:
    seconds = [tier.seconds for tier in LADDER]
    assert seconds == sorted(set(seconds))
    assert [tier_for(remaining).seconds for remaining in (0, 0.9, 1, 3.9, 15, 60, 1e6)] == [
        1,
        1,
        1,
        2,
        10,
        60,
        3600,
    ]


def test_no_other_file_spells_the_name_of_a_queue_or_exchange() -> None:
    found = [
        f"{shown(path)}: {text}"
        for path in source_files()
        if path.parent.name != "topology"
        for text in texts_in(path)
        if text in NAMES
    ]
    assert found == []


def _keys_of_dead_letters(queue: Queue) -> Iterator[str]:
    own = queue.arguments.get("x-dead-letter-routing-key")
    if own is not None:
        yield str(own)
        return
    for binding in TOPOLOGY.bindings:
        if binding.queue == queue.name:
            yield binding.routing_key


def _matches(pattern: str, key: str) -> bool:
    """Tell whether a topic exchange would route `key` along a binding without `#`."""
    words, wanted = key.split("."), pattern.split(".")
    return len(words) == len(wanted) and all(
        want in {"*", word} for want, word in zip(wanted, words, strict=True)
    )
