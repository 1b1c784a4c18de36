"""Which provider is asked, what is held against it, and what against the delivery."""

from dataclasses import dataclass
from datetime import UTC, datetime

from carillon_shared.delivery.attempt import Attempted, Attempts
from carillon_shared.delivery.failover import Providers
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import DeliveryStatus
from carillon_shared.retry.decision import SPARED_SECONDS, decide
from carillon_shared.retry.policy import RetryPolicy
from support.content_examples import delivery
from support.sending import Answer, ScriptedProvider, as_it_is, guarded

ONE = delivery(Channel.EMAIL, {"subject": "s", "text": "t"})
AWAY = Retry("connection", "refused", provider_wide=True)


@dataclass(slots=True)
class StillClock:
    """Stands still until the test moves it."""

    time: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.time


def answering(outcome: Outcome) -> Answer:
    async def answer(_delivery: LeasedDelivery) -> Outcome:
        return outcome

    return answer


def provider(outcome: Outcome, name: str = "first") -> ScriptedProvider:
    return ScriptedProvider(answer=answering(outcome), name=name)


async def attempt(providers: Providers[LeasedDelivery], times: int = 1) -> Attempted:
    attempts = Attempts(compose=as_it_is, providers=providers, limit=5)
    for _ in range(times):
        (permit,) = providers.reserve(1)
        attempted = await attempts.attempt(ONE, permit)
    return attempted


async def test_the_second_takes_what_the_first_has_refused_for_everybody() -> None:
    attempted = await attempt(guarded(provider(AWAY), provider(Sent("2"), "second")))
    assert (attempted.outcome, attempted.provider) == (Sent("2"), "second")
    assert attempted.refused_first == "first: connection: refused"


async def test_an_unknown_outcome_is_never_sent_again_by_the_second() -> None:
    second = provider(Sent(), "second")
    gone = Unknown("timeout", "no answer", provider_wide=True)
    attempted = await attempt(guarded(provider(gone), second))
    assert (attempted.outcome, attempted.provider, second.received.total()) == (gone, "first", 0)


async def test_what_is_wrong_with_one_delivery_is_no_reason_to_ask_the_second() -> None:
    for outcome in (Retry("450", "greylisted"), Rejected("554", "spam"), Undeliverable("550", "nobody")):
        second = provider(Sent(), "second")
        assert (await attempt(guarded(provider(outcome), second))).outcome == outcome
        assert second.received.total() == 0


async def test_the_first_is_left_alone_while_its_breaker_is_open_and_asked_again_afterwards() -> None:
    clock, first, second = StillClock(), provider(AWAY), provider(Sent(), "second")
    providers = guarded(first, second, clock=clock)
    await attempt(providers, 25)
    assert (first.received.total(), second.received.total()) == (10, 25)
    assert providers.takes_work
    clock.time, first.answer = 5.0, answering(Sent())
    await attempt(providers, 5)
    assert (first.received.total(), second.received.total()) == (15, 25)


async def test_with_both_down_nothing_begins_until_a_probe_is_due() -> None:
    clock = StillClock()
    providers = guarded(provider(AWAY), provider(AWAY, "second"), clock=clock)
    await attempt(providers, 10)
    assert (providers.takes_work, providers.could_begin, providers.reserve(5)) == (False, False, [])
    assert providers.ready_in() == 5.0
    clock.time = 5.0
    assert providers.could_begin
    assert not providers.takes_work


async def test_a_rate_limit_is_not_gone_around_by_the_second() -> None:
    second = provider(Sent(), "second")
    providers = guarded(provider(Sent()), second, clock=StillClock(), rate=10.0)
    assert len(providers.reserve(5)) == 1
    assert not providers.could_begin


async def test_nothing_begins_while_the_channel_is_paused() -> None:
    providers = guarded(provider(Sent()))
    providers.paused = True
    assert (providers.reserve(5), providers.could_begin, providers.takes_work) == ([], False, False)
    assert providers.ready_in() is None


async def test_a_bad_address_or_template_never_opens_the_breaker() -> None:
    providers = guarded(provider(Undeliverable("550", "nobody")))
    await attempt(providers, 50)
    assert providers.takes_work


async def test_retry_after_stops_the_whole_provider_for_as_long() -> None:
    clock = StillClock()
    throttled = Retry("whatsapp_130429", "too many", 30.0, provider_wide=True)
    providers = guarded(provider(throttled), clock=clock)
    await attempt(providers)
    assert providers.ready_in() == 30.0
    assert not providers.takes_work


async def test_a_failure_counts_until_the_breaker_knows_that_all_fail() -> None:
    providers = guarded(provider(AWAY), clock=StillClock())
    assert not (await attempt(providers, 9)).spared
    assert (await attempt(providers)).spared


def test_a_spared_attempt_does_not_end_a_delivery_for_a_day() -> None:
    policy = RetryPolicy(max_attempts=1, jitter=0)

    def status(elapsed: float, *, spared: bool) -> DeliveryStatus:
        decision = decide(
            AWAY, policy=policy, attempts=1, elapsed=elapsed, uniform=lambda _a, _b: 0.0, spared=spared
        )
        return decision.status

    assert status(60.0, spared=True) is DeliveryStatus.RETRYING
    assert status(60.0, spared=False) is DeliveryStatus.DEAD
    assert status(SPARED_SECONDS, spared=True) is DeliveryStatus.DEAD
