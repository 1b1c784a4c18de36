"""Golden samples are what older processes have written: every later reader must take them, for ever."""

import json
from pathlib import Path
from typing import Any

import pytest
from carillon_shared.contracts.codec import MAX_BODY_BYTES, UndecodableMessageError, decode, encode
from carillon_shared.contracts.messages import MESSAGE_TYPES, Message
from hypothesis import example, given
from hypothesis import strategies as st

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))}

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def _fields(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(SAMPLES[name])
    return fields


def test_every_message_type_has_a_sample_and_every_sample_a_type() -> None:
    assert set(SAMPLES) == set(MESSAGE_TYPES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_whole_and_written_as_it_was(name: str) -> None:
    message = decode(name, SAMPLES[name])
    assert type(message) is MESSAGE_TYPES[name]
    assert json.loads(encode(message)) == _fields(name)
    assert decode(name, encode(message)) == message


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_says_everything_its_type_can_say(name: str) -> None:
    assert set(_fields(name)) == set(MESSAGE_TYPES[name].model_fields)


@pytest.mark.parametrize("name", SAMPLES)
def test_fields_of_a_later_writer_are_ignored(name: str) -> None:
    later = _fields(name) | {"added_later": {"deep": [1]}}
    assert decode(name, json.dumps(later).encode()) == decode(name, SAMPLES[name])


def test_fields_inside_a_live_frame_are_ignored_too() -> None:
    later = _fields("live.chunk.v1")
    later["frames"][0]["added_later"] = 1
    assert decode("live.chunk.v1", json.dumps(later).encode()) == decode(
        "live.chunk.v1", SAMPLES["live.chunk.v1"]
    )


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, field)
        for name, model in MESSAGE_TYPES.items()
        for field, info in model.model_fields.items()
        if info.is_required()
    ],
)
def test_a_body_without_a_needed_field_is_poison(name: str, field: str) -> None:
    less = {key: value for key, value in _fields(name).items() if key != field}
    with pytest.raises(UndecodableMessageError, match=name):
        decode(name, json.dumps(less).encode())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("event.accepted.v1", {"lane": "urgent"}),
        ("event.accepted.v1", {"event_id": "42"}),
        ("fanout.range.v1", {"n": -1}),
        ("work.chunk.v1", {"channel": "pigeon"}),
        ("work.chunk.v1", {"attempt": 0}),
        ("work.chunk.v1", {"delivery_ids": []}),
        ("work.chunk.v1", {"delivery_ids": ["019aa5e1-4c00-8a2b-8c3d-4e5000000073"] * 1001}),
        ("live.chunk.v1", {"event": "reset"}),
        ("live.chunk.v1", {"frames": [{"subscriber": "u", "seq": 1, "unread": 0, "unseen": 0, "tail": -1}]}),
        ("outcome.batch.v1", {"at": "yesterday"}),
    ],
)
def test_a_value_out_of_its_range_is_poison(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(UndecodableMessageError):
        decode(name, json.dumps(_fields(name) | change).encode())


@pytest.mark.parametrize("name", [None, "", "work.chunk", "work.chunk.v2", "WORK.CHUNK.V1", "Message"])
def test_an_unknown_type_or_version_is_poison(name: str | None) -> None:
    with pytest.raises(UndecodableMessageError, match="no message type"):
        decode(name, SAMPLES["work.chunk.v1"])


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"null", b"[]", b'"text"', b"{", b"{}{}", b"[" * 90_000])
def test_what_is_no_object_of_json_is_poison(body: bytes) -> None:
    for name in MESSAGE_TYPES:
        with pytest.raises(UndecodableMessageError):
            decode(name, body)


def test_a_body_may_have_the_largest_size_and_not_one_byte_more() -> None:
    sample = SAMPLES["live.signal.v1"]
    largest = sample + b" " * (MAX_BODY_BYTES - len(sample))
    assert decode("live.signal.v1", largest) == decode("live.signal.v1", sample)
    with pytest.raises(UndecodableMessageError, match="100001 bytes"):
        decode("live.signal.v1", largest + b" ")


def _decoded(name: str | None, body: bytes) -> Message | None:
    """Return the message, or None for poison; whatever else is raised fails the test."""
    try:
        return decode(name, body)
    except UndecodableMessageError:
        return None


@given(name=st.sampled_from([*MESSAGE_TYPES, None, "x.v1"]) | st.text(), body=st.binary(max_size=300))
def test_any_bytes_are_a_message_or_poison(name: str | None, body: bytes) -> None:
    assert name in MESSAGE_TYPES or _decoded(name, body) is None
    _decoded(name, body)


@given(data=st.data(), name=st.sampled_from(sorted(SAMPLES)))
def test_any_change_of_a_sample_is_a_message_or_poison(data: st.DataObject, name: str) -> None:
    fields = _fields(name)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), _JSON, min_size=1))
    message = _decoded(name, json.dumps(fields | changed).encode())
    if message is not None:
        encode(message)


@given(
    name=st.sampled_from(sorted(SAMPLES)),
    at=st.integers(0, 2000),
    put=st.binary(max_size=4),
    cut=st.integers(0, 9),
)
@example(name="live.signal.v1", at=0, put=b"", cut=0)
def test_any_damage_to_a_sample_is_a_message_or_poison(name: str, at: int, put: bytes, cut: int) -> None:
    body = SAMPLES[name]
    start = at % len(body)
    message = _decoded(name, body[:start] + put + body[start + cut :])
    if message is not None:
        encode(message)
