"""Addresses that a provider says will never be reached are suppressed with the settle that says so."""

from collections.abc import Sequence
from typing import Any, Final

from carillon_shared.delivery.work import Ended
from carillon_shared.domain.outcomes import Undeliverable
from carillon_shared.domain.suppressions import SUPPRESSED_SECONDS

SUPPRESS: Final = "SELECT carillon.suppress_recipients($1, $2, $3, $4, $5, $6)"

_MAX_DETAIL: Final = 500


def suppressions_of(ended: Sequence[Ended]) -> tuple[Any, ...]:
    """Return the arguments of `SUPPRESS`; nothing where no attempt says so."""
    found = [
        (one, outcome, outcome.suppress)
        for one in ended
        if isinstance(outcome := one.attempted.outcome, Undeliverable) and outcome.suppress
    ]
    if not found:
        return ()
    return (
        [None] * len(found),
        [one.item.id for one, _, _ in found],
        [_address(one) for one, _, _ in found],
        [reason.value for _, _, reason in found],
        [_storable(outcome.error) for _, outcome, _ in found],
        [SUPPRESSED_SECONDS[reason] for _, _, reason in found],
    )


def _storable(words: str) -> str:
    return words.replace("\0", "")[:_MAX_DETAIL].encode(errors="replace").decode()


def _address(ended: Ended) -> str | None:
    recipient = ended.delivery.recipient
    return recipient.phone if ended.delivery.channel == "whatsapp" else recipient.email
