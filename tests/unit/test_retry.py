import pytest
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.outcomes import Hold, Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason
from carillon_shared.retry.decision import decide
from carillon_shared.retry.policy import DEFAULT_POLICIES, RetryPolicy, Strategy, policy_for
from hypothesis import given
from hypothesis import strategies as st


def middle(low: float, high: float) -> float:
    return (low + high) / 2


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (DEFAULT_POLICIES[Channel.EMAIL], [2, 4, 8, 16, None]),
        (DEFAULT_POLICIES[Channel.WHATSAPP], [1, 2, 4, None]),
        (DEFAULT_POLICIES[Channel.INAPP], [10, 60, None]),
        (RetryPolicy(strategy=Strategy.LINEAR, initial=1, step=3, max_attempts=4), [1, 4, 7, None]),
        (RetryPolicy(strategy=Strategy.FIXED, initial=5, max_attempts=3), [5, 5, None]),
        (RetryPolicy(strategy=Strategy.SCHEDULE, delays=(1, 9), max_attempts=5), [1, 9, 9, 9, None]),
        (RetryPolicy(initial=10, factor=10, max_delay=50, max_attempts=4), [10, 50, 50, None]),
        (RetryPolicy(max_attempts=1), [None]),
    ],
)
def test_delays_grow_as_the_strategy_says(policy: RetryPolicy, delays: list[float | None]) -> None:
    assert [policy.delay_after(n, uniform=middle) for n in range(1, len(delays) + 1)] == delays


@given(
    factor=st.floats(1, 100),
    initial=st.floats(0, 1e6),
    attempts=st.integers(1, 5000),
    draw=st.floats(0, 1),
    jitter=st.floats(0, 0.9),
)
def test_no_delay_is_negative_or_above_the_cap(
    factor: float, initial: float, attempts: int, draw: float, jitter: float
) -> None:
    policy = RetryPolicy(initial=initial, factor=factor, max_delay=900, max_attempts=10**6, jitter=jitter)
    delay = policy.delay_after(attempts, uniform=lambda low, high: low + (high - low) * draw)
    assert delay is not None
    assert 0 <= delay <= 900


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Sent("x"), DeliveryStatus.SENT, None),
        (Retry("421", "busy"), DeliveryStatus.RETRYING, None),
        (Undeliverable("550", "no such user"), DeliveryStatus.FAILED, Reason.INVALID_ADDRESS),
        (Rejected("x", "y", Reason.TEMPLATE_ERROR), DeliveryStatus.DEAD, Reason.TEMPLATE_ERROR),
        (Unknown("timeout", "no answer"), DeliveryStatus.UNKNOWN, None),
        (Hold(60, HoldReason.QUIET_HOURS), DeliveryStatus.HELD, None),
    ],
)
def test_every_outcome_has_its_state(outcome: Outcome, status: DeliveryStatus, reason: Reason | None) -> None:
    decision = decide(outcome, policy=RetryPolicy(), attempts=1, elapsed=0, uniform=middle)
    assert (decision.status, decision.reason) == (status, reason)


def test_the_last_attempt_that_fails_is_dead() -> None:
    decision = decide(
        Retry("421", "busy"), policy=RetryPolicy(max_attempts=3), attempts=3, elapsed=1, uniform=middle
    )
    assert (decision.status, decision.reason) == (DeliveryStatus.DEAD, Reason.RETRIES_EXHAUSTED)


def test_the_total_budget_ends_retries_before_the_attempts_do() -> None:
    policy = RetryPolicy(initial=10, max_attempts=100, max_elapsed=15)
    assert decide(Retry("1", "x"), policy=policy, attempts=1, elapsed=1, uniform=middle).delay == 10
    late = decide(Retry("1", "x"), policy=policy, attempts=1, elapsed=6, uniform=middle)
    assert late.status is DeliveryStatus.DEAD


def test_a_providers_retry_after_is_honoured_when_it_is_longer() -> None:
    policy = RetryPolicy(initial=2)
    assert (
        decide(Retry("429", "x", after=30), policy=policy, attempts=1, elapsed=0, uniform=middle).delay == 30
    )
    assert decide(Retry("429", "x", after=1), policy=policy, attempts=1, elapsed=0, uniform=middle).delay == 2


def test_a_stored_policy_reads_back_and_tolerates_new_names() -> None:
    stored = {"email": {"strategy": "schedule", "delays": [10, 60], "max_attempts": 3, "from_the_future": 1}}
    assert policy_for(stored, Channel.EMAIL).delays == (10, 60)
    assert policy_for(stored, Channel.WHATSAPP) is DEFAULT_POLICIES[Channel.WHATSAPP]


@pytest.mark.parametrize(
    "bad", [{"max_attempts": 0}, {"jitter": 1}, {"strategy": "schedule"}, {"initial": -1}]
)
def test_a_policy_that_means_nothing_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs"):
        RetryPolicy.from_json(bad)
