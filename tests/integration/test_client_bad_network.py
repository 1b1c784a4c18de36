"""The Python client against a server that misbehaves: what is repeated, with which id, and what is not."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from carillon_client import (
    ONCE,
    AsyncCarillon,
    BatchLimits,
    Carillon,
    ConflictError,
    DeadLetterFilter,
    Event,
    InvalidContentError,
    NotReachableError,
    ProblemError,
    RetryPolicy,
    ThrottledError,
    UnavailableError,
    UnreadableAnswerError,
    message,
)
from support.unruly_http import (
    Behaviour,
    UnrulyServer,
    accepts,
    drips,
    half_an_answer,
    never_answers,
    resets,
    says,
    unruly_server,
)

QUICK = RetryPolicy(attempts=8, first_seconds=0.01, longest_seconds=0.02)
UNAVAILABLE = {
    "type": "urn:carillon:problem:unavailable",
    "title": "The service cannot do this at the moment.",
    "status": 503,
}
GOOD = accepts()


@pytest.fixture
def server() -> Iterator[UnrulyServer]:
    with unruly_server() as running:
        yield running


def blocking(server: UnrulyServer, **settings: Any) -> Carillon:
    return Carillon(server.url, "ck_x_y", **{"retry": QUICK} | settings)


def ids(server: UnrulyServer) -> list[str]:
    return [heard.json["id"] for heard in server.heard]


PASSING: dict[str, Behaviour] = {
    "a reset connection": resets,
    "half an answer": half_an_answer,
    "no answer in time": never_answers,
    "an answer that drips": drips,
    "503": says(503, UNAVAILABLE),
    "a gateway's 502": says(502, b"<html>Bad gateway</html>"),
    "429": says(429, {"title": "Slow down", "status": 429}),
    "a page with 200": says(200, b"<html>Welcome</html>"),
}


def _patience(fault: Behaviour) -> float:
    return 0.2 if fault in (never_answers, drips) else 10.0


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_what_passes_is_sent_again_with_the_same_id(server: UnrulyServer, fault: Behaviour) -> None:
    server.will(fault, fault, accepts(duplicate=True))
    async with AsyncCarillon(server.url, "ck_x_y", retry=QUICK, timeout=_patience(fault)) as carillon:
        accepted = await carillon.send(message("Hello", "World", users=["u-7"]))
    assert accepted.duplicate
    assert len(server.heard) >= 3  # more on a machine that is slow
    assert len({heard.body for heard in server.heard}) == 1
    assert UUID(ids(server)[0]).version == 7


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_the_blocking_client_does_the_same(server: UnrulyServer, fault: Behaviour) -> None:
    server.will(fault, fault, accepts(duplicate=True))
    with blocking(server, timeout=_patience(fault)) as carillon:
        assert carillon.send(message("Hello", "World", users=["u-7"])).duplicate
    assert len(server.heard) >= 3
    assert len({heard.body for heard in server.heard}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500])
def test_what_is_refused_is_never_sent_again(server: UnrulyServer, status: int) -> None:
    server.will(says(status, {"type": "urn:carillon:problem:x", "title": "No.", "status": status}))
    with blocking(server) as carillon, pytest.raises(ProblemError) as raised:
        carillon.send(Event("ticket.solved"))
    assert raised.value.status == status
    assert len(server.heard) == 1


def test_retry_after_is_waited(server: UnrulyServer) -> None:
    server.will(says(503, UNAVAILABLE, Retry_After="1"), GOOD)
    with blocking(server) as carillon:
        began = time.monotonic()
        carillon.send(Event("ticket.solved"))
    assert time.monotonic() - began >= 1


def test_what_would_take_too_long_is_not_waited(server: UnrulyServer) -> None:
    server.will(says(429, {"title": "The limit is reached.", "status": 429}, Retry_After="3600"))
    with blocking(server) as carillon, pytest.raises(ThrottledError) as raised:
        carillon.send(Event("ticket.solved"))
    assert raised.value.retry_after == 3600
    assert len(server.heard) == 1


def test_after_the_last_attempt_the_error_is_raised_and_the_event_can_be_sent_once_more(
    server: UnrulyServer,
) -> None:
    event = Event("ticket.solved", {"ticket_id": 42})
    server.will(says(503, UNAVAILABLE))
    with blocking(server) as carillon:
        with pytest.raises(UnavailableError):
            carillon.send(event)
        assert len(server.heard) == QUICK.attempts
        server.will(GOOD)
        carillon.send(event)
    assert len({heard.body for heard in server.heard}) == 1


def test_nobody_there_is_told_apart_from_no_answer(server: UnrulyServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Carillon(url, "k", retry=ONCE) as carillon, pytest.raises(NotReachableError) as raised:
            carillon.send(Event("ticket.solved"))
    assert not raised.value.outcome_unknown
    server.will(resets)
    with blocking(server, retry=ONCE) as carillon, pytest.raises(NotReachableError) as raised:
        carillon.send(Event("ticket.solved"))
    assert raised.value.outcome_unknown


def test_what_may_have_been_carried_out_and_is_not_safe_to_repeat_is_not_repeated(
    server: UnrulyServer,
) -> None:
    server.will(half_an_answer, GOOD)
    with blocking(server) as carillon, pytest.raises(NotReachableError):
        carillon.dead_letters.replay(DeadLetterFilter(channel="email"), reason="mended")
    assert len(server.heard) == 1


def test_an_answer_that_is_none_says_so(server: UnrulyServer) -> None:
    server.will(says(202, {"status": "accepted"}))
    with (
        blocking(server, retry=ONCE) as carillon,
        pytest.raises(UnreadableAnswerError, match="POST /v1/events"),
    ):
        carillon.send(Event("ticket.solved"))


def test_a_problem_document_is_read_whole(server: UnrulyServer) -> None:
    faults = [
        {"pointer": "/audience/users/0", "detail": "no text"},
        {"parameter": "limit", "detail": "no"},
    ]
    server.will(
        says(
            422,
            {
                "type": "urn:carillon:problem:invalid-content",
                "title": "The request has invalid content.",
                "status": 422,
                "errors": faults,
            },
        ),
        says(409, {"title": "Taken.", "status": 409, "event_id": "0198c7a2-0000-7000-8000-000000000009"}),
    )
    with blocking(server) as carillon:
        with pytest.raises(InvalidContentError) as raised:
            carillon.send(Event("ticket.solved"))
        assert raised.value.slug == "invalid-content"
        assert [fault.pointer for fault in raised.value.errors] == ["/audience/users/0", None]
        assert "/audience/users/0: no text; limit: no" in str(raised.value)
        with pytest.raises(ConflictError) as taken:
            carillon.send(Event("ticket.solved"))
        assert taken.value.event_id == UUID("0198c7a2-0000-7000-8000-000000000009")


def _refuses_arrays_with(poison: str) -> Behaviour:
    """Behave as the service does towards text that it cannot store: the whole array is refused."""

    def answer(talk: Any) -> None:
        if poison.encode() in talk.heard.body:
            says(422, {"title": "No.", "status": 422, "errors": [{"pointer": "", "detail": "poison"}]})(talk)
        else:
            GOOD(talk)

    return answer


def test_one_event_at_fault_does_not_take_the_others_with_it(server: UnrulyServer) -> None:
    server.will(_refuses_arrays_with("poison"))
    events = [Event("ticket.solved", {"n": "poison" if place == 5 else str(place)}) for place in range(9)]
    with blocking(server) as carillon:
        results = carillon.send_many(events)
    assert [sent.event for sent in results] == events
    assert [place for place, sent in enumerate(results) if sent.error] == [5]
    assert isinstance(results[5].error, InvalidContentError)


def test_what_is_put_off_among_many_is_sent_again_alone(server: UnrulyServer) -> None:
    def answer(talk: Any) -> None:
        said = talk.heard.json
        one = {"id": "0198c7a2-0000-7000-8000-000000000001", "status": "accepted", "duplicate": False}
        items: list[Any] = [{"index": place, **one} for place in range(len(said))]
        if len(said) > 1:
            items[1] = {
                "index": 1,
                "id": None,
                "status": "refused",
                "duplicate": False,
                "problem": UNAVAILABLE,
            }
        says(207, {"data": items})(talk)

    server.will(answer)
    with blocking(server) as carillon:
        results = carillon.send_many([Event("a"), Event("b"), Event("c")])
    assert all(sent.accepted for sent in results)
    assert [[event["type"] for event in heard.json] for heard in server.heard] == [["a", "b", "c"], ["b"]]


def test_when_nothing_comes_back_the_rest_is_not_tried(server: UnrulyServer) -> None:
    server.will(resets)
    with blocking(server, retry=ONCE) as carillon:
        results = carillon.send_many(Event("a", {"n": place}) for place in range(2_500))
    assert len(results) == 2_500
    assert all(isinstance(sent.error, NotReachableError) for sent in results)
    assert len(server.heard) == 1


def test_many_events_go_in_requests_that_the_service_takes(server: UnrulyServer) -> None:
    server.will(GOOD)
    big = "x" * 200_000
    with blocking(server) as carillon:
        carillon.send_many(Event("a", {"n": place}) for place in range(2_001))
        assert [len(heard.json) for heard in server.heard] == [1_000, 1_000, 1]
        server.heard.clear()
        carillon.send_many(Event("a", {"big": big}) for _ in range(25))
    assert max(len(heard.body) for heard in server.heard) <= 4 * 1024 * 1024
    assert sum(len(heard.json) for heard in server.heard) == 25
    assert len(server.heard) == 2


async def test_events_posted_at_once_share_requests_and_keep_their_own_results(server: UnrulyServer) -> None:
    server.will(_refuses_arrays_with("poison"))
    all_at_once = BatchLimits(max_events=100, max_wait_seconds=30)
    async with (
        AsyncCarillon(server.url, "k", retry=QUICK) as carillon,
        carillon.batcher(all_at_once) as batcher,
    ):
        tasks = [batcher.send(Event("a", {"n": "poison" if n == 30 else n})) for n in range(100)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [30]
    assert isinstance(results[30], InvalidContentError)
    assert len(server.heard) < 20  # one request, and those that found the one at fault


def test_threads_share_requests(server: UnrulyServer) -> None:
    server.will(GOOD)
    all_at_once = BatchLimits(max_events=40, max_wait_seconds=30)
    with blocking(server) as carillon, carillon.batcher(all_at_once) as batcher:
        threads = [threading.Thread(target=batcher.send, args=[Event("a", {"n": n})]) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sent = [event["data"]["n"] for heard in server.heard for event in heard.json]
    assert sorted(sent) == list(range(40))
    assert len(server.heard) == 1


def test_what_was_posted_is_sent_before_a_blocking_batcher_closes(server: UnrulyServer) -> None:
    server.will(GOOD)
    with blocking(server) as carillon:
        with carillon.batcher() as batcher:
            futures = [batcher.submit(Event("a", {"n": n})) for n in range(5)]
        assert all(future.done() for future in futures)
        assert [event["data"]["n"] for heard in server.heard for event in heard.json] == list(range(5))


async def test_a_failing_batch_fails_each_of_its_events(server: UnrulyServer) -> None:
    server.will(resets)
    async with AsyncCarillon(server.url, "k", retry=ONCE) as carillon, carillon.batcher() as batcher:
        futures = [await batcher.submit(Event("a")) for _ in range(3)]
        await batcher.flush()
        assert all(isinstance(future.exception(), NotReachableError) for future in futures)


def test_the_body_says_what_was_given_and_no_more(server: UnrulyServer) -> None:
    server.will(GOOD)
    with blocking(server, source="/helpdesk") as carillon:
        carillon.send_to_users_and_roles(["u-7"], ["support"], Event("ticket.solved", {"n": 1}, id="chg-1"))
        carillon.send_to_roles(["admin"], Event("user.new", id="chg-2", source="/crm", exclude=["u-9"]))
        carillon.send_to_topics(["ticket:42"], Event("ticket.solved", {}, id="chg-3", channels=["email"]))
    assert [heard.json for heard in server.heard] == [
        {
            "type": "ticket.solved",
            "source": "/helpdesk",
            "id": "chg-1",
            "data": {"n": 1},
            "audience": {"users": ["u-7"], "roles": ["support"]},
        },
        {
            "type": "user.new",
            "source": "/crm",
            "id": "chg-2",
            "data": {},
            "audience": {"roles": ["admin"], "exclude": ["u-9"]},
        },
        {
            "type": "ticket.solved",
            "source": "/helpdesk",
            "id": "chg-3",
            "data": {},
            "audience": {"topics": ["ticket:42"]},
            "channels": ["email"],
        },
    ]
    assert json.loads(server.heard[0].body)  # compact, and UTF-8
    assert server.heard[0].headers["authorization"] == "Bearer ck_x_y"
