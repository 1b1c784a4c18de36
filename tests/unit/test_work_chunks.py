"""How deliveries are put into work messages."""

from dataclasses import replace
from uuid import UUID

from carillon_dispatcher.planning.chunks import Work, chunks_of
from carillon_dispatcher.sweepers.rescued import Rescued, works_of
from carillon_shared.contracts.codec import MAX_BODY_BYTES, encode
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.ids import delivery_id

_EVENT = UUID("0199a000-0000-7000-8000-0000000000aa")
_OTHER = UUID("0199a000-0000-7000-8000-0000000000bb")
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _work(count: int, channel: Channel = Channel.EMAIL) -> Work:
    ids = [delivery_id(_EVENT, number, channel) for number in range(1, count + 1)]
    return Work(
        event_id=_EVENT,
        tenant="acme",
        traceparent=_TRACE,
        channel=channel,
        lane=Lane.BULK,
        ids=ids,
        attempt=3,
    )


def _messages(*works: Work) -> list[WorkChunk]:
    return [one.message for one in chunks_of(works) if isinstance(one.message, WorkChunk)]


def test_every_delivery_is_in_one_message() -> None:
    work = _work(450)
    chunks = _messages(work)
    assert [len(chunk.delivery_ids) for chunk in chunks] == [200, 200, 50]
    assert [one for chunk in chunks for one in chunk.delivery_ids] == work.ids


def test_the_same_work_has_the_same_message_ids() -> None:
    first, again = chunks_of([_work(450)]), chunks_of([_work(450)])
    assert [one.message_id for one in first] == [one.message_id for one in again]
    assert len({one.message_id for one in first}) == 3


def test_a_message_says_where_it_goes_and_where_it_came_from() -> None:
    (outgoing,) = chunks_of([_work(1)])
    assert (outgoing.exchange, outgoing.routing_key) == ("carillon.work", "email.bulk")
    assert (outgoing.traceparent, outgoing.mandatory, outgoing.persistent) == (_TRACE, True, True)


def test_the_largest_message_is_well_below_the_limit() -> None:
    (outgoing,) = chunks_of([_work(500, Channel.INAPP)])
    assert len(encode(outgoing.message)) < MAX_BODY_BYTES / 2


def test_isolated_deliveries_go_alone() -> None:
    chunks = _messages(replace(_work(3), isolated=True))
    assert [(len(chunk.delivery_ids), chunk.isolated) for chunk in chunks] == [(1, True)] * 3


def test_only_those_share_a_message_that_may() -> None:
    one = Rescued(
        id=delivery_id(_EVENT, 2, Channel.EMAIL),
        event_id=_EVENT,
        tenant="acme",
        traceparent=None,
        channel=Channel.EMAIL,
        lane=Lane.NORMAL,
        attempt=2,
    )
    together = replace(one, id=delivery_id(_EVENT, 1, Channel.EMAIL))
    apart = [
        replace(one, attempt=3),
        replace(one, isolated=True),
        replace(one, channel=Channel.INAPP),
        replace(one, event_id=_OTHER),
    ]
    works = works_of([one, together, *apart])
    assert works[0].ids == [together.id, one.id]
    assert [len(work.ids) for work in works] == [2, 1, 1, 1, 1]
