"""The rules of the Python client that need no network: ids, waits, batches, events, places in streams."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from carillon_client import (
    BatchLimits,
    CarillonError,
    Event,
    Notification,
    NotReachableError,
    Problem,
    Ready,
    RetryPolicy,
    ThrottledError,
    UnauthorizedError,
    message,
    new_id,
)
from carillon_client.call import place
from carillon_client.errors import UnavailableError
from carillon_client.following import Following, UnreadableFrameError
from carillon_client.gathering import Gathering
from carillon_client.problems import problem_of, retry_after
from carillon_client.requests.events import addressed
from carillon_client.retrying import Attempts
from carillon_client.sending import Encoded
from httpx2 import ServerSentEvent
from hypothesis import given
from hypothesis import strategies as st

COUNTS = '{"unread": 1, "unseen": 1, "seq": 1}'
ITEM = (
    '{"id": "0198c7a2-0000-7000-8000-000000000001", "seq": 1,'
    '"event_id": "0198c7a2-0000-7000-8000-000000000002",'
    '"type": "t", "category": "c", "priority": "normal", "title": "T", "body": "B", "action_url": null,'
    '"data": {}, "created_at": "2026-11-21T10:00:00Z", "seen_at": null, "read_at": null, "archived_at": null,'
    '"snoozed_until": null}'
)
NOTIFICATION = f'{{"item": {ITEM}, "counts": {COUNTS}}}'
UPDATE = f'{{"items": [{{"id": "0198c7a2-0000-7000-8000-000000000003", "read": true}}], "counts": {COUNTS}}}'


def test_ids_are_of_version_7_and_rise_with_time() -> None:
    ids = [UUID(new_id()) for _ in range(1_000)]
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 1_000
    milliseconds = [one.int >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
    assert abs(milliseconds[-1] / 1000 - datetime.now(UTC).timestamp()) < 60


@given(
    failed=st.integers(1, 200),
    draw=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 1_000),
)
def test_a_wait_is_bounded_and_never_shorter_than_asked(
    failed: int, draw: float, asked: float | None
) -> None:
    policy = RetryPolicy()
    wait = policy.wait(failed, retry_after=asked, draw=draw)
    if asked is None:
        assert policy.first_seconds * (1 - policy.jitter) <= wait <= policy.longest_seconds
    else:
        assert asked <= wait <= asked + policy.longest_seconds


def _attempts(*, repeatable: bool = True, **policy: float) -> Attempts:
    times = iter(range(0, 1_000_000, 4))
    settings = RetryPolicy(**policy)  # type: ignore[arg-type]  # numbers all
    return Attempts(settings, repeatable, clock=lambda: float(next(times)), draw=lambda: 0.0)


def _unavailable(wait: float | None = None) -> CarillonError:
    return UnavailableError(Problem("about:blank", "Away", 503, retry_after=wait))


def test_waits_double_until_the_attempts_or_the_budget_are_used_up() -> None:
    attempts = _attempts(budget_seconds=20.0, attempts=10)  # four seconds go by with each
    assert [attempts.pause_after(_unavailable()) for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert attempts.pause_after(_unavailable()) is None
    few = _attempts(attempts=2)
    assert few.pause_after(_unavailable()) == 0.2
    assert few.pause_after(_unavailable()) is None


def test_what_cannot_be_repeated_is_only_sent_again_when_nothing_was_done() -> None:
    throttled = ThrottledError(Problem("about:blank", "Slow down", 429))
    assert _attempts(repeatable=False).pause_after(throttled) is not None
    assert _attempts(repeatable=False).pause_after(NotReachableError("refused", False)) is not None  # noqa: FBT003 - as raised
    assert _attempts(repeatable=False).pause_after(NotReachableError("cut")) is None
    assert _attempts(repeatable=False).pause_after(_unavailable()) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after("7") == 7
    assert 80 < (retry_after(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")) or 0) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None


@given(st.binary(max_size=300))
def test_any_answer_can_be_told(body: bytes) -> None:
    assert problem_of(500, {}, body).title


def test_an_event_says_what_it_was_given() -> None:
    zone = timezone(timedelta(hours=8))
    at = datetime(2026, 11, 21, 18, 0, tzinfo=zone)
    event = Event("a", {"at": at, "day": at.date(), "id": UUID(int=7)}, id="x", deliver_at=at, force=True)
    assert event.encoded(source="/s").decode() == (
        '{"type":"a","source":"/s","id":"x","data":{"at":"2026-11-21T10:00:00Z","day":"2026-11-21",'
        '"id":"00000000-0000-0000-0000-000000000007"},"deliver_at":"2026-11-21T10:00:00Z","force":true}'
    )


@pytest.mark.parametrize(
    "data",
    [
        {"x": float("nan")},
        {"x": object()},
        {"x": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused
        {"x": "\ud800"},
    ],
    ids=("no number", "no text", "no zone", "half a character"),
)
def test_data_that_is_no_json_is_refused_before_it_is_sent(data: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is Python's own
        Event("a", data).encoded(source="/")


def test_a_text_is_no_list_and_a_time_has_a_zone() -> None:
    with pytest.raises(TypeError, match="roles"):
        Event("a", roles="admin")
    with pytest.raises(ValueError, match="time zone"):
        Event("a", deliver_at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


def test_an_audience_is_said_once() -> None:
    assert addressed(message("T", "B"), roles=["admin"]).roles == ["admin"]
    with pytest.raises(ValueError, match="audience of its own"):
        addressed(message("T", "B", users=["u"]), roles=["admin"])
    with pytest.raises(ValueError, match="nobody"):
        addressed(message("T", "B"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_name_that_no_address_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="address"):
        place("subscribers", name)
    assert place("topics", "ticket:42", "ä b") == "/v1/topics/ticket:42/%C3%A4%20b"


@given(sizes=st.lists(st.integers(1, 400), max_size=60), limit=st.integers(1, 20))
def test_batches_lose_nothing_keep_the_order_and_stay_within_bounds(sizes: list[int], limit: int) -> None:
    limits = BatchLimits(max_events=limit, max_bytes=500, max_wait_seconds=1)
    gathering: Gathering[int] = Gathering(limits)
    for place_, size in enumerate(sizes):
        gathering.add(Encoded(Event("a"), b"x" * size), place_, now=0)
    seen: list[int] = []
    while gathering.wait(now=5) is not None:
        batch = gathering.take()
        assert 1 <= len(batch) <= limit
        assert len(batch) == 1 or sum(len(each.encoded.body) + 1 for each in batch) <= 500
        seen += [each.handle for each in batch]
    assert seen == list(range(len(sizes)))
    assert gathering.size == 0


def test_a_batch_is_due_when_its_first_event_has_waited_or_it_is_full() -> None:
    gathering: Gathering[int] = Gathering(BatchLimits(max_events=2, max_wait_seconds=0.5))
    assert gathering.wait(now=0) is None
    gathering.add(Encoded(Event("a"), b"x"), 0, now=10)
    assert gathering.wait(now=10.2) == pytest.approx(0.3)
    assert gathering.wait(now=11) == 0
    gathering.add(Encoded(Event("a"), b"x"), 1, now=10)
    assert gathering.wait(now=10) == 0


def test_frames_of_one_number_are_shown_together_or_not_at_all() -> None:
    following = Following(cursor="4")
    following.request("t")
    assert following.take(ServerSentEvent("notification", NOTIFICATION, id="4")) == []
    following.request("t")  # the connection was cut in between: both come again
    assert following.take(ServerSentEvent("notification", NOTIFICATION, id="4")) == []
    shown = following.take(ServerSentEvent("update", UPDATE, id="5"))
    assert [type(frame).__name__ for frame in shown] == ["Notification", "Update"]
    assert following.cursor == "5"


def test_the_next_connection_goes_on_after_what_was_seen() -> None:
    following = Following(topics=("a", "b"))
    first = following.request("t")
    assert (first.query, "Last-Event-ID" in (first.headers or {})) == ((("topics", "a,b"),), False)
    (ready,) = following.take(ServerSentEvent("ready", f'{{"counts": {COUNTS}}}', id="17"))
    assert isinstance(ready, Ready)
    (shown,) = following.take(ServerSentEvent("notification", NOTIFICATION, id="18"))
    assert isinstance(shown, Notification)
    assert (following.request("t").headers or {})["Last-Event-ID"] == "18"


def test_a_server_that_asks_for_patience_gets_it() -> None:
    following = Following(draw=lambda: 0.0)
    following.take(ServerSentEvent(retry=7_000))
    assert following.pause_after(None) == 7
    calm = Following(draw=lambda: 0.0)
    assert [calm.pause_after(_unavailable()) for _ in range(3)] == [0.5, 1.0, 2.0]
    assert calm.pause_after(_unavailable(60)) >= 60
    calm.take(ServerSentEvent("ready", f'{{"counts": {COUNTS}}}', id="1"))
    assert calm.pause_after(None) == 0.5


def test_a_token_that_was_good_is_renewed_and_a_new_one_that_is_refused_is_the_end() -> None:
    refused = UnauthorizedError(Problem("about:blank", "Who?", 401))
    following = Following(token_is_fresh=True)
    with pytest.raises(UnauthorizedError):
        following.pause_after(refused)
    following.take(ServerSentEvent("ready", f'{{"counts": {COUNTS}}}', id="1"))
    assert following.pause_after(refused) == 0


def test_a_frame_of_another_kind_is_left_out_and_one_that_is_broken_is_told() -> None:
    following = Following()
    assert following.take(ServerSentEvent("invented-later", "{}", id="9")) == []
    assert following.cursor == "9"
    with pytest.raises(UnreadableFrameError):
        following.take(ServerSentEvent("notification", "{}", id="10"))
