"""When a breaker opens, how long it stays open, and what lets it close."""

import pytest
from carillon_shared.delivery.breaker import BreakerPolicy, BreakerState, CircuitBreaker
from hypothesis import given
from hypothesis import strategies as st

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
MANY = 1000


def breaker(**policy: float) -> CircuitBreaker:
    return CircuitBreaker(BreakerPolicy(**policy), uniform=lambda _low, _high: 0.0)  # type: ignore[arg-type]  # whole numbers where the policy has them


def fail(one: CircuitBreaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        one.failed(one.epoch, now)


def probe(one: CircuitBreaker, now: float, *, works: bool) -> None:
    assert one.room(now, 1) == 1
    one.begin(1)
    (one.succeeded if works else one.failed)(one.epoch, now)


def test_ten_failures_in_a_row_open_it_and_nine_do_not() -> None:
    one = breaker()
    fail(one, 9)
    one.succeeded(one.epoch, 0.0)
    fail(one, 9)
    assert (one.state(0.0), one.room(0.0, MANY)) == (CLOSED, MANY)
    fail(one, 1)
    assert (one.state(0.0), one.room(0.0, MANY)) == (OPEN, 0)


def test_half_of_twenty_calls_open_it_though_none_follow_each_other() -> None:
    one = breaker()
    for number in range(19):
        (one.failed if number % 2 else one.succeeded)(one.epoch, 1.0)
    assert one.state(1.0) is CLOSED
    one.failed(one.epoch, 1.0)
    assert one.state(1.0) is OPEN


def test_what_is_older_than_the_window_does_not_count() -> None:
    one = breaker(window=30.0)
    for _ in range(9):
        one.failed(one.epoch, 0.0)
        one.succeeded(one.epoch, 0.0)
    one.succeeded(one.epoch, 31.0)
    fail(one, 9, now=31.0)
    assert one.state(31.0) is CLOSED


def test_openings_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    one, now, lengths = breaker(), 0.0, []
    fail(one, 10)
    for _ in range(6):
        lengths.append(one.open_until - now)
        now = one.open_until
        probe(one, now, works=False)
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    now = one.open_until
    for _ in range(3):
        probe(one, now, works=True)
    assert one.state(now) is CLOSED
    fail(one, 10, now=now)
    assert one.open_until - now == 5.0


def test_jitter_lengthens_and_shortens_an_opening_by_its_share() -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    one = CircuitBreaker(uniform=draw)
    fail(one, 10)
    assert (bounds, one.open_until) == ([(-0.2, 0.2)], 6.0)


def test_half_open_lets_three_probes_through_and_closes_when_all_have_succeeded() -> None:
    one = breaker()
    fail(one, 10)
    assert one.room(4.9, MANY) == 0
    assert (one.room(5.0, MANY), one.state(5.0)) == (3, HALF_OPEN)
    one.begin(3)
    assert one.room(5.0, MANY) == 0
    for _ in range(2):
        one.succeeded(one.epoch, 5.1)
    assert (one.room(5.1, MANY), one.state(5.1)) == (0, HALF_OPEN)
    one.succeeded(one.epoch, 5.2)
    assert (one.room(5.2, MANY), one.state(5.2)) == (MANY, CLOSED)


def test_a_probe_that_is_not_made_leaves_its_place_to_another() -> None:
    one = breaker()
    fail(one, 10)
    assert one.room(5.0, 3) == 3
    one.begin(3)
    one.give_back(one.epoch, 2)
    assert one.room(5.0, MANY) == 2


@pytest.mark.parametrize("works", [True, False])
def test_the_answer_to_a_call_from_before_the_opening_changes_nothing(works: bool) -> None:  # noqa: FBT001 - a parameter of the test
    one = breaker()
    old = one.epoch
    fail(one, 10)
    assert one.state(5.0) is HALF_OPEN
    (one.succeeded if works else one.failed)(old, 5.0)
    assert (one.state(5.0), one.room(5.0, MANY)) == (HALF_OPEN, 3)


def test_the_provider_may_ask_for_a_pause_itself() -> None:
    one = breaker()
    one.open_for(42.0, 1.0)
    assert (one.state(42.9), one.state(43.0)) == (OPEN, HALF_OPEN)


def test_a_shorter_wish_does_not_shorten_an_opening() -> None:
    one = breaker()
    fail(one, 10)
    one.open_for(1.0, 0.0)
    assert one.state(4.9) is OPEN


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=200))
def test_it_never_lets_more_probes_through_than_it_may_and_never_stays_open_for_good(
    calls: list[tuple[bool, float]],
) -> None:
    one, now = breaker(), 0.0
    for works, pause in calls:
        now += pause
        if one.room(now, 1):
            probe(one, now, works=works)
        if one.state(now) is not CLOSED:
            assert one.room(now, MANY) <= 3
    later = now + 61.0
    for _ in range(3):
        if one.state(later) is not CLOSED:
            probe(one, later, works=True)
    assert one.state(later) is CLOSED
