"""One attempt ends in an outcome, whatever the composer or the provider does."""

import asyncio
from typing import NoReturn

import pytest
from carillon_shared.content.errors import ContentError
from carillon_shared.delivery.attempt import Attempts
from carillon_shared.delivery.provider import Composer
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome, Rejected, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import Reason
from support.content_examples import delivery
from support.sending import ScriptedProvider, as_it_is, guarded

ONE = delivery(Channel.EMAIL, {"subject": "s", "text": "t"})


async def _attempt(provider: ScriptedProvider, *, limit: float = 5.0) -> Outcome:
    return await _outcome(provider, as_it_is, limit=limit)


async def _outcome(
    provider: ScriptedProvider, compose: Composer[LeasedDelivery], *, limit: float = 5.0
) -> Outcome:
    providers = guarded(provider)
    (permit,) = providers.reserve(1)
    attempts = Attempts(compose=compose, providers=providers, limit=limit)
    return (await attempts.attempt(ONE, permit)).outcome


async def test_what_the_provider_answers_is_the_outcome() -> None:
    assert await _attempt(ScriptedProvider()) == Sent(f"p-{ONE.id}")


async def test_a_provider_that_does_not_answer_in_time_leaves_the_outcome_unknown() -> None:
    cancelled = asyncio.Event()

    async def never(_: LeasedDelivery) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    outcome = await _attempt(ScriptedProvider(answer=never), limit=0.05)
    assert outcome == Unknown("timeout", "no answer within 0.05 s", provider_wide=True)
    assert cancelled.is_set()


async def test_an_adapter_that_raises_leaves_the_outcome_unknown() -> None:
    async def broken(_: LeasedDelivery) -> Outcome:
        raise KeyError("id")

    assert await _attempt(ScriptedProvider(answer=broken)) == Unknown("internal_error", "KeyError: 'id'")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (
            ContentError("a.b/email/en subject: data.n is missing"),
            Rejected("template_error", "a.b/email/en subject: data.n is missing", Reason.TEMPLATE_ERROR),
        ),
        (
            InvalidAddressError("the domain is missing"),
            Undeliverable("invalid_address", "the domain is missing"),
        ),
    ],
)
async def test_what_cannot_be_composed_is_never_handed_over(error: Exception, outcome: Outcome) -> None:
    def compose(delivery: LeasedDelivery) -> NoReturn:
        raise error

    provider = ScriptedProvider()
    assert await _outcome(provider, compose) == outcome
    assert not provider.received


async def test_a_fault_of_ours_is_a_dead_letter_with_its_stack() -> None:
    def compose(delivery: LeasedDelivery) -> NoReturn:
        raise ZeroDivisionError("by zero")

    outcome = await _outcome(ScriptedProvider(), compose)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.error) == ("internal_error", "ZeroDivisionError: by zero")
    assert outcome.stack is not None
    assert outcome.stack.startswith("Traceback")
    assert "raise ZeroDivisionError" in outcome.stack
