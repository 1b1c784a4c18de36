import struct
from datetime import UTC, datetime
from uuid import UUID

import pytest
from carillon_shared.broker.incoming import Settlements
from carillon_shared.broker.outgoing import Framing, Header, Outgoing, live, outcome, publish_frames
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import EventAccepted, LiveSignal, OutcomeBatch
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

NOW = 1_763_766_000.75
MESSAGE = EventAccepted(event_id=UUID(int=7), tenant="acme", event_type="message", lane=Lane.NORMAL)


def _decoded(raw: bytes) -> tuple[commands.Basic.Publish, ContentHeader, bytes, int]:
    """Read the frames back with pamqp, an implementation that is not ours; also the number of body frames."""
    frames = []
    while raw:
        used, channel, value = frame.unmarshal(raw)
        assert channel == 1
        frames.append(value)
        raw = raw[used:]
    method, header, *bodies = frames
    assert isinstance(method, commands.Basic.Publish)
    assert isinstance(header, ContentHeader)
    values = [body.value for body in bodies if isinstance(body, ContentBody)]
    return method, header, b"".join(values), len(bodies)


def _frames(outgoing: Outgoing, *, max_payload: int = 131_064) -> bytes:
    return publish_frames(outgoing, Framing(1, max_payload, "carillon-api"), now=NOW)


@given(
    message_id=st.text(max_size=60),
    routing_key=st.text(max_size=60),
    headers=st.dictionaries(
        st.from_regex(r"[a-w][a-z_]{0,20}", fullmatch=True),
        st.text(max_size=20) | st.integers(-(2**31), 2**31 - 1) | st.booleans(),
        max_size=3,
    ),
    flags=st.tuples(st.booleans(), st.booleans()),
    max_payload=st.integers(1, 200),
)
def test_what_is_written_is_what_another_implementation_reads(
    message_id: str,
    routing_key: str,
    headers: dict[str, Header],
    flags: tuple[bool, bool],
    max_payload: int,
) -> None:
    mandatory, persistent = flags
    outgoing = Outgoing(
        "carillon.events",
        routing_key,
        MESSAGE,
        message_id,
        headers=headers,
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        mandatory=mandatory,
        persistent=persistent,
    )
    method, header, body, pieces = _decoded(_frames(outgoing, max_payload=max_payload))
    assert (method.exchange, method.routing_key, method.mandatory) == (
        "carillon.events",
        routing_key,
        mandatory,
    )
    properties = header.properties
    assert (properties.message_id or "") == message_id
    assert properties.delivery_mode == (2 if persistent else 1)
    assert (properties.message_type, properties.app_id) == (MESSAGE.TYPE, "carillon-api")
    assert properties.content_type == "application/json"
    assert properties.timestamp is not None
    assert properties.timestamp.timestamp() == int(NOW)
    assert properties.headers == {**headers, "traceparent": outgoing.traceparent}
    assert header.body_size == len(body)
    assert pieces == -(-len(body) // max_payload)
    assert decode(MESSAGE.TYPE, body) == MESSAGE


def test_headers_of_the_broker_are_not_passed_on() -> None:
    headers: dict[str, Header] = {"x-death": "...", "x-delivery-count": 3, "CC": "a", "BCC": "b", "own": 1}
    _, header, _, _ = _decoded(_frames(Outgoing("e", "k", MESSAGE, "m", headers=headers)))
    assert header.properties.headers == {"own": 1}


def test_a_message_without_headers_has_none() -> None:
    _, header, _, _ = _decoded(_frames(Outgoing("e", "k", MESSAGE, "m")))
    assert header.properties.headers is None


@pytest.mark.parametrize(("key", "message_id"), [("k" * 256, "m"), ("k", "m" * 256)])
def test_what_amqp_cannot_carry_is_refused(key: str, message_id: str) -> None:
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        _frames(Outgoing("e", key, MESSAGE, message_id))


def test_a_body_that_no_reader_takes_is_not_written() -> None:
    signal = LiveSignal(tenant="acme", name="n", data="x" * 100_000)
    with pytest.raises(ValueError, match="would be poison"):
        _frames(live(signal, message_id="m"))


def test_live_messages_may_be_lost_and_outcomes_may_have_no_reader() -> None:
    shown = live(LiveSignal(tenant="acme", name="typing", data={}), message_id="1")
    told = outcome(
        OutcomeBatch(
            tenant="acme",
            channel=Channel.EMAIL,
            state="sent",
            delivery_ids=[],
            at=datetime(2026, 11, 21, tzinfo=UTC),
        ),
        message_id="2",
    )
    assert (shown.exchange, shown.mandatory, shown.persistent) == ("carillon.live", False, False)
    assert (told.exchange, told.mandatory, told.persistent) == ("carillon.outcomes", False, True)
    assert told.routing_key == "acme.email.sent"


def test_settlements_are_written_as_another_implementation_writes_them_and_rejections_first() -> None:
    settlements = Settlements(up_to=2**40, singles=(7,), dead_lettered=(1,), requeued=(2,))
    assert settlements.frames(3) == b"".join(
        frame.marshal(method, 3)
        for method in (
            commands.Basic.Reject(1, requeue=False),
            commands.Basic.Reject(2, requeue=True),
            commands.Basic.Ack(7, multiple=False),
            commands.Basic.Ack(2**40, multiple=True),
        )
    )
    assert struct.calcsize(">BHIHHQBB") == len(frame.marshal(commands.Basic.Ack(7), 3))
