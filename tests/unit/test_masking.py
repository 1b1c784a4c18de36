from uuid import UUID

import pytest
from carillon_shared.telemetry.masking import mask_email, mask_phone, mask_text, mask_value


def test_an_address_keeps_its_initials_and_its_top_level_domain() -> None:
    assert mask_email("anna@example.org") == "a***@e***.org"


def test_a_number_keeps_its_first_and_last_two_digits() -> None:
    assert mask_phone("+12025550147") == "+12***47"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("550 <anna.maria+x@mail.example.co.uk>: unknown", "550 <a***@m***.uk>: unknown"),
        ("to anna@example.org, bob@example.org", "to a***@e***.org, b***@e***.org"),
        ("grüße@münchen.example", "g***@m***.example"),
        ("call +1 (202) 555-0147 now", "call +12***47 now"),
        ("recipient 12025550147 not on WhatsApp", "recipient 12***47 not on WhatsApp"),
        ("(131030) +976 9911 2233", "(131030) +97***33"),
    ],
)
def test_addresses_and_numbers_inside_texts_are_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T10:00:00.123456+00:00",
        "0198e3a2-1111-7222-8333-444455556666",
        "took 12345.678901 s for 1000000 rows",
        "delivery tag 20000 on 127.0.0.1:5672",
        "user @anna",
        "1763766000.123456789012",
    ],
)
def test_times_ids_and_figures_are_left_alone(text: str) -> None:
    assert mask_text(text) == text


def test_values_are_masked_at_any_depth() -> None:
    identifier = UUID(int=1)
    value = {
        "to": ["anna@example.org", {"anna@example.org": ("+12025550147", 5)}],
        "id": identifier,
        "n": 12025550147,
    }
    assert mask_value(value) == {
        "to": ["a***@e***.org", {"a***@e***.org": ["+12***47", 5]}],
        "id": identifier,
        "n": 12025550147,
    }


def test_objects_are_masked_in_the_form_they_would_be_logged_in() -> None:
    assert mask_value(ValueError("no anna@example.org")) == "ValueError('no a***@e***.org')"


def test_a_value_that_contains_itself_ends() -> None:
    loop: list[object] = ["anna@example.org"]
    loop.append(loop)
    assert "anna@" not in str(mask_value(loop))
