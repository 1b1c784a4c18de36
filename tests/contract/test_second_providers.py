"""Resend and Twilio in their own words, and each standing in for the first provider of its channel."""

import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest
from carillon_email_worker.message import MailComposer, OutgoingMail, Sender
from carillon_email_worker.providers.connections import SmtpServerAddress
from carillon_email_worker.providers.resend import ResendAccount, ResendProvider, request_of
from carillon_email_worker.providers.smtp import SmtpProvider
from carillon_shared.clock import SystemClock
from carillon_shared.delivery.attempt import Attempted, Attempts
from carillon_shared.delivery.breaker import CircuitBreaker
from carillon_shared.delivery.failover import Providers
from carillon_shared.delivery.guard import Guard
from carillon_shared.delivery.provider import Composer, Provider
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import Reason
from carillon_shared.domain.suppressions import SuppressionReason
from carillon_whatsapp_worker.message import OutgoingWhatsapp, compose_whatsapp
from carillon_whatsapp_worker.providers.cloud_api import CloudApiAccount, CloudApiProvider
from carillon_whatsapp_worker.providers.twilio import TwilioAccount, TwilioProvider
from carillon_whatsapp_worker.providers.twilio_errors import reply_outcome as twilio_outcome
from support.content_examples import BAT, delivery
from support.mock_process import TOKEN, MockProcess, mock_process

RESEND_KEY, TWILIO_TOKEN = "mock-resend-key", "mock-twilio-token"
MAIL = {"subject": "Сайн уу", "html": "<p>Hi {{ data.name }}</p>", "text": "Hi {{ data.name }}"}
DATA = {"name": "Бат", "owner": "u-7"}
COMPOSE_MAIL = MailComposer(
    sender=Sender("Дэлгүүр", "shop@acme.example"),
    message_id_domain="acme.example",
    clock=SystemClock(),
    unsubscribe_url=lambda one: f"https://n.example/u/{one.recipient.id}",
)

MessageT = TypeVar("MessageT")


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[MockProcess]:
    async with mock_process(slow_seconds=0.05) as process:
        yield process


@pytest.fixture
async def rules(mock: MockProcess) -> AsyncIterator[MockProcess]:
    yield mock
    await mock.rules()


def composed(name: str = "bat") -> OutgoingMail:
    recipient = BAT._replace(email=f"{name}@example.org")
    return COMPOSE_MAIL(delivery(Channel.EMAIL, MAIL, data=DATA, recipient=recipient))


def resend(mock: MockProcess, key: str = RESEND_KEY) -> ResendProvider:
    return ResendProvider(ResendAccount(mock.url, key))


def twilio(mock: MockProcess, token: str = TWILIO_TOKEN, **contents: str) -> TwilioProvider:
    return TwilioProvider(TwilioAccount(mock.url, "AC1", "+12025550100", token, contents))


async def once(provider: Provider[MessageT], message: MessageT) -> Any:
    try:
        return await provider.send(message)
    finally:
        await provider.aclose()


async def mails_to(mock: MockProcess, address: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await mock.get("/api/mail", to=address))["items"]
    return items


async def in_turn(
    compose: Composer[MessageT], one: LeasedDelivery, *providers: Provider[MessageT]
) -> Attempted:
    """Attempt a delivery with the first of these, the others behind it."""
    clock = SystemClock()
    guards = [
        Guard(each, channel=one.channel, breaker=CircuitBreaker(), bucket=None, clock=clock)
        for each in providers
    ]
    group = Providers(guards, clock=clock)
    (permit,) = group.reserve(1)
    attempted = await Attempts(compose=compose, providers=group, limit=30).attempt(one, permit)
    for each in providers:
        await each.aclose()
    return attempted


# --- Resend


async def test_resend_is_given_the_whole_mail_with_its_headers(mock: MockProcess) -> None:
    message = composed("whole")
    request = request_of(message)
    assert request["to"] == ["whole@example.org"]
    assert (request["subject"], request["text"], request["html"]) == (
        "Сайн уу",
        "Hi Бат\n",
        "<p>Hi Бат</p>\n",
    )
    assert set(request["headers"]) == {
        "Message-ID",
        "Auto-Submitted",
        "X-Carillon-Delivery",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    }
    assert isinstance(await once(resend(mock), message), Sent)
    (mail,) = await mails_to(mock, "whole@example.org")
    assert (mail["subject"], mail["html"].strip()) == ("Сайн уу", "<p>Hi Бат</p>")
    assert mail["message_id"] == f"<{message.reference}@acme.example>"


async def test_what_resend_has_taken_is_not_sent_twice_and_what_was_corrected_is(rules: MockProcess) -> None:
    await rules.rules({"fault": "lost_reply", "channel": "resend", "times": 1, "scope": "rule"})
    message = composed("twice")
    provider = resend(rules)
    assert isinstance(await provider.send(message), Unknown)
    assert isinstance(await provider.send(message), Sent)
    assert len(await mails_to(rules, "twice@example.org")) == 1
    assert isinstance(await once(provider, message._replace(recipient="other@example.org")), Sent)
    assert len(await mails_to(rules, "other@example.org")) == 1


async def test_a_wrong_key_is_the_operators_to_mend(mock: MockProcess) -> None:
    outcome = await once(resend(mock, "wrong"), composed())
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.provider_wide) == ("resend_invalid_api_key", True)
    assert "wrong" not in repr(ResendAccount(mock.url, "wrong"))


@pytest.mark.parametrize("garbage", ["noise", "half", "page"])
async def test_an_answer_of_resend_that_nobody_can_read_is_unknown(rules: MockProcess, garbage: str) -> None:
    await rules.rules({"fault": "garbage", "garbage": garbage, "channel": "resend"})
    assert isinstance(await once(resend(rules), composed(garbage)), Unknown)


async def test_resend_takes_what_smtp_refuses_for_everybody(rules: MockProcess) -> None:
    await rules.rules({"fault": "server_error", "channel": "smtp"})
    one = delivery(Channel.EMAIL, MAIL, data=DATA, recipient=BAT._replace(email="stand-in@example.org"))
    smtp = SmtpProvider(SmtpServerAddress("127.0.0.1", rules.smtp_port))
    attempted = await in_turn(COMPOSE_MAIL, one, smtp, resend(rules))
    assert isinstance(attempted.outcome, Sent)
    assert (attempted.provider, attempted.refused_first) == (
        "resend",
        "smtp: smtp_451: 451 4.3.0 Local error in processing (simulated)",
    )
    assert len(await mails_to(rules, "stand-in@example.org")) == 1


async def test_smtp_stands_in_for_resend_as_well(rules: MockProcess) -> None:
    await rules.rules({"fault": "rate_limited", "channel": "resend", "retry_after": 7})
    one = delivery(Channel.EMAIL, MAIL, data=DATA, recipient=BAT._replace(email="back@example.org"))
    smtp = SmtpProvider(SmtpServerAddress("127.0.0.1", rules.smtp_port))
    attempted = await in_turn(COMPOSE_MAIL, one, resend(rules), smtp)
    assert (type(attempted.outcome), attempted.provider) == (Sent, "smtp")
    assert len(await mails_to(rules, "back@example.org")) == 1


# --- Twilio


def whatsapp(content: dict[str, Any], phone: str) -> OutgoingWhatsapp:
    return compose_whatsapp(
        delivery(Channel.WHATSAPP, content, data=DATA, recipient=BAT._replace(phone=phone))
    )


def approved(name: str) -> dict[str, Any]:
    return {"template": {"name": name, "language": "mn", "parameters": ["{{ data.name }}", "two"]}}


async def shown_on(mock: MockProcess, phone: str) -> dict[str, Any]:
    (item,) = (await mock.get("/api/whatsapp", to=phone.lstrip("+")))["items"]
    found: dict[str, Any] = item
    return found


async def test_twilio_is_given_text_as_it_is(mock: MockProcess) -> None:
    outcome = await once(twilio(mock), whatsapp({"text": "Сайн уу & баяртай +1"}, "+12025550161"))
    assert isinstance(outcome, Sent)
    item = await shown_on(mock, "+12025550161")
    assert (item["id"], item["body"]) == (outcome.provider_id, "Сайн уу & баяртай +1")


@pytest.mark.parametrize(
    ("name", "contents", "phone"),
    [
        ("solved", {"solved/mn": "HX1"}, "+12025550162"),
        ("solved", {"solved": "HX1", "solved/en": "HX2"}, "+12025550163"),
        ("HX1", {}, "+12025550164"),
    ],
)
async def test_an_approved_template_is_twilio_s_content(
    mock: MockProcess, name: str, contents: dict[str, str], phone: str
) -> None:
    assert isinstance(await once(twilio(mock, **contents), whatsapp(approved(name), phone)), Sent)
    template = (await shown_on(mock, phone))["template"]
    assert template["name"] == "HX1"
    assert [each["text"] for each in template["components"][0]["parameters"]] == ["Бат", "two"]


async def test_a_template_without_its_content_waits_for_a_person(mock: MockProcess) -> None:
    outcome = await once(twilio(mock, other="HX1"), whatsapp(approved("solved"), "+12025550165"))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.reason) == ("twilio_content", Reason.TEMPLATE_MISSING)


async def test_a_wrong_auth_token_is_the_operators_to_mend(mock: MockProcess) -> None:
    outcome = await once(twilio(mock, "wrong"), whatsapp({"text": "x"}, "+12025550166"))
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.provider_wide) == ("twilio_20003", True)
    assert "wrong" not in repr(TwilioAccount(mock.url, "AC1", "+1", "wrong"))


@pytest.mark.parametrize(
    ("status", "code", "kind", "suppress"),
    [
        (400, 63003, Undeliverable, SuppressionReason.BOUNCED),
        (400, 21610, Undeliverable, SuppressionReason.STOPPED),
        (400, 63032, Undeliverable, None),
        (400, 63016, Rejected, None),
        (429, 63018, Retry, None),
        (400, 63007, Retry, None),
        (500, 99999, Retry, None),
    ],
)
def test_twilio_s_errors(status: int, code: int, kind: type[Any], suppress: SuppressionReason | None) -> None:
    outcome = twilio_outcome(status, {}, json.dumps({"code": code, "message": "words"}).encode())
    assert isinstance(outcome, kind)
    assert getattr(outcome, "suppress", None) is suppress


async def test_twilio_takes_what_the_cloud_api_refuses_for_everybody(rules: MockProcess) -> None:
    await rules.rules({"fault": "retry", "channel": "whatsapp"})
    first = CloudApiProvider(CloudApiAccount(rules.url, "v23.0", "1055", TOKEN))
    one = delivery(Channel.WHATSAPP, {"text": "Hi"}, data=DATA, recipient=BAT._replace(phone="+12025550167"))
    attempted = await in_turn(compose_whatsapp, one, first, twilio(rules))
    assert (type(attempted.outcome), attempted.provider) == (Sent, "twilio")
    assert (await shown_on(rules, "+12025550167"))["phone_number_id"] == "twilio"
