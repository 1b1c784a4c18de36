"""A token bucket gives out its rate, and not more."""

import pytest
from carillon_shared.delivery.rate_limit import TokenBucket
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(0.5, 500), st.lists(st.floats(0, 0.7), min_size=1, max_size=80), st.integers(1, 200))
def test_in_no_time_more_than_the_rate_and_one_burst(rate: float, pauses: list[float], wanted: int) -> None:
    bucket, now, given_out = TokenBucket(rate), 0.0, 0
    for pause in pauses:
        now += pause
        many = bucket.room(now, wanted)
        bucket.take(many)
        given_out += many
    assert given_out <= rate * now + max(1.0, rate * 0.1) + 1e-6


@pytest.mark.parametrize("rate", [0.5, 3.0, 80.0, 1000.0])
def test_who_asks_when_told_gets_a_token_each_time(rate: float) -> None:
    bucket, now = TokenBucket(rate), 100.0
    for _ in range(50):
        now = bucket.ready_at(now)
        assert bucket.room(now, 1) == 1
        bucket.take(1)
    assert 50 / rate * 0.7 <= now - 100.0 + max(1.0, rate * 0.1) / rate <= 50 / rate + 50 * 0.003 + 1 / rate


def test_what_is_not_used_can_be_used_by_others() -> None:
    bucket = TokenBucket(10.0)
    assert bucket.room(0.0, 5) == 1
    bucket.take(1)
    assert bucket.room(0.0, 5) == 0
    bucket.give_back(1)
    assert bucket.room(0.0, 5) == 1


def test_no_limit_is_no_bucket() -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(0.0)
