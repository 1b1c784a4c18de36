"""Answers that ask for fewer calls are told from those that only fail."""

import pytest
from carillon_shared.delivery.throttling import is_throttling
from carillon_shared.domain.outcomes import Retry, Unknown


@pytest.mark.parametrize(
    ("outcome", "throttled"),
    [
        (Retry("http_429", "too many", provider_wide=True), True),
        (Retry("whatsapp_130429", "rate limit hit", provider_wide=True), True),
        (Retry("http_503", "later", after=5.0, provider_wide=True), True),
        (Retry("http_503", "away", provider_wide=True), False),
        (Retry("connection", "refused", provider_wide=True), False),
        (Unknown("timeout", "no answer", provider_wide=True), False),
    ],
)
def test_an_answer_asks_for_fewer_calls_or_not(outcome: Retry | Unknown, *, throttled: bool) -> None:
    assert is_throttling(outcome) is throttled
