"""Every e-mail provider and its fake through one suite; then SMTP's own failures, step by step."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from carillon_email_worker.message import OutgoingMail
from carillon_email_worker.mime import mail_bytes, named_address_header, text_header
from carillon_email_worker.providers.connections import SmtpServerAddress
from carillon_email_worker.providers.resend import ResendAccount, ResendProvider
from carillon_email_worker.providers.sandbox import SandboxMailProvider
from carillon_email_worker.providers.smtp import SmtpProvider
from carillon_shared.delivery.provider import Provider
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from support.mock_process import MockProcess, mock_process
from support.scripted_smtp import CLOSE, HANG, ScriptedServer, scripted_smtp
from support.throw_away_tls import client_context, server_context
from support.waiting import eventually

PATIENCE = 1.0  # seconds an attempt may take where the server never answers
RESEND_KEY = "mock-resend-key"
# The same refusal in the words of each; the sandbox plays an SMTP server.
RESEND_CODES = {
    "smtp_550": "resend_validation_error",
    "smtp_450": "resend_rate_limit_exceeded",
    "smtp_451": "resend_internal_server_error",
}


def mail(recipient: str = "ada@example.org", *, utf8: bool = False) -> OutgoingMail:
    headers = [
        named_address_header("From", "Acme", "hello@acme.example"),
        text_header("Subject", "Сайн байна"),
    ]
    content = mail_bytes(headers, text=".a line with a dot\n", html="<p>Сайн байна</p>")
    return OutgoingMail(str(uuid4()), "hello@acme.example", recipient, content, utf8)


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[MockProcess]:
    async with mock_process(slow_seconds=0.05, bounce_seconds=0.05) as process:
        yield process


@pytest.fixture
def mock_port(mock: MockProcess) -> int:
    return mock.smtp_port


@pytest.fixture(params=["smtp", "resend", "sandbox"])
async def provider(
    request: pytest.FixtureRequest, mock: MockProcess
) -> AsyncIterator[Provider[OutgoingMail]]:
    made: Provider[OutgoingMail] = SandboxMailProvider()
    if request.param == "smtp":
        server = SmtpServerAddress("127.0.0.1", mock.smtp_port)
        made = SmtpProvider(server, attempt_seconds=_seconds(request))
    if request.param == "resend":
        made = resend(mock, attempt_seconds=_seconds(request))
    yield made
    await made.aclose()


def resend(mock: MockProcess, key: str = RESEND_KEY, *, attempt_seconds: float = 20.0) -> ResendProvider:
    return ResendProvider(ResendAccount(mock.url, key), attempt_seconds=attempt_seconds)


def _seconds(request: pytest.FixtureRequest) -> float:
    """Be patient with a busy machine, except where no answer will ever come."""
    return PATIENCE if "no_answer" in request.node.name else 20.0


def code_of(provider: Provider[OutgoingMail], code: str) -> str:
    return RESEND_CODES[code] if provider.name == "resend" else code


# --- the suite that the real providers and the fake pass


@pytest.mark.parametrize("name", ["ada", "bounce", "slow", "duplicate", "bounce+17"])
async def test_what_is_accepted_is_sent(provider: Provider[OutgoingMail], name: str) -> None:
    outcome = await provider.send(mail(f"{name}@example.org"))
    assert isinstance(outcome, Sent)
    assert outcome.provider_id


async def test_no_such_mailbox_is_undeliverable(provider: Provider[OutgoingMail]) -> None:
    outcome = await provider.send(mail("reject@example.org"))
    assert isinstance(outcome, Undeliverable)
    assert outcome.code == code_of(provider, "smtp_550")


@pytest.mark.parametrize(("name", "code"), [("429", "smtp_450"), ("500", "smtp_451")])
async def test_passing_refusals_are_retried(provider: Provider[OutgoingMail], name: str, code: str) -> None:
    outcome = await provider.send(mail(f"{name}@example.org"))
    assert isinstance(outcome, Retry)
    assert outcome.code == code_of(provider, code)


async def test_the_third_try_succeeds(provider: Provider[OutgoingMail]) -> None:
    recipient = f"retry+{provider.name}@example.org"
    kinds = [type(await provider.send(mail(recipient))) for _ in range(6)]
    assert kinds == [Retry, Retry, Sent, Retry, Retry, Sent]


@pytest.mark.parametrize(
    ("name", "code"),
    [("timeout", "timeout"), ("hang", "timeout"), ("reset", "disconnected"), ("lostreply", "disconnected")],
)
async def test_no_answer_to_the_message_is_unknown(
    provider: Provider[OutgoingMail], name: str, code: str
) -> None:
    outcome = await provider.send(mail(f"{name}@example.org"))
    assert isinstance(outcome, Unknown)
    assert outcome.code == code


async def test_many_at_once(provider: Provider[OutgoingMail]) -> None:
    outcomes = await asyncio.gather(*(provider.send(mail(f"p{n}@example.org")) for n in range(60)))
    assert {type(outcome) for outcome in outcomes} == {Sent}


async def test_a_failure_does_not_spoil_what_follows(provider: Provider[OutgoingMail]) -> None:
    names = ["reject", "ada", "reset", "ada", "500", "ada"]
    kinds = [type(await provider.send(mail(f"{name}@example.org"))) for name in names]
    assert kinds == [Undeliverable, Sent, Unknown, Sent, Retry, Sent]


async def test_closing_twice_is_harmless(provider: Provider[OutgoingMail]) -> None:
    await provider.send(mail())
    await provider.aclose()
    await provider.aclose()


# --- SMTP step by step


@asynccontextmanager
async def smtp(server: ScriptedServer, **changes: object) -> AsyncIterator[SmtpProvider]:
    connections = changes.pop("connections", 10)
    assert isinstance(connections, int)
    address = SmtpServerAddress("127.0.0.1", server.port, **changes)  # type: ignore[arg-type] # any of its fields
    made = SmtpProvider(address, connections=connections, attempt_seconds=PATIENCE)
    yield made
    await made.aclose()


async def outcome_of(script: dict[str, str], message: OutgoingMail | None = None) -> Outcome:
    async with scripted_smtp(script) as server, smtp(server) as provider:
        return await provider.send(message or mail())


@pytest.mark.parametrize("step", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("what", "code"), [(CLOSE, None), (HANG, "timeout"), ("421 closing", None)])
async def test_before_the_message_every_failure_is_a_retry(step: str, what: str, code: str | None) -> None:
    outcome = await outcome_of({step: what, "HELO": what})
    assert isinstance(outcome, Retry)
    assert code is None or outcome.code == code


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (CLOSE, "disconnected"),
        (HANG, "timeout"),
        ("<html> nothing of SMTP", "malformed_reply"),
        ("\x00\x07", "malformed_reply"),
        ("354 go on", "malformed_reply"),
        ("999 what", "malformed_reply"),
    ],
)
async def test_after_the_message_no_answer_is_unknown(what: str, code: str) -> None:
    outcome = await outcome_of({"MESSAGE": what})
    assert isinstance(outcome, Unknown)
    assert outcome.code == code


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"MESSAGE": "251 2.1.5 forwarded"}, Sent),
        ({"MAIL": "<html> nothing of SMTP"}, Retry),
        ({"GREETING": "<html> nothing of SMTP"}, Retry),
        ({"MESSAGE": "451 4.3.0 later"}, Retry),
        ({"MESSAGE": "554 5.7.1 spam"}, Rejected),
        ({"MESSAGE": "550 5.1.1 nobody"}, Undeliverable),
        ({"RCPT": "550 nobody"}, Undeliverable),
        ({"RCPT": "550 5.7.1 relaying denied"}, Rejected),
        ({"MAIL": "550 5.1.8 sender"}, Rejected),
        ({"DATA": "554 no"}, Rejected),
        ({"GREETING": "554 no service"}, Retry),
    ],
)
async def test_answers_mean_what_they_say(script: dict[str, str], kind: type[Outcome]) -> None:
    assert isinstance(await outcome_of(script), kind)


@pytest.mark.parametrize("garbage", ["noise", "half", "page"])
async def test_an_answer_nobody_can_read_is_unknown(garbage: str) -> None:
    async with mock_process() as mock:
        await mock.rules({"fault": "garbage", "garbage": garbage, "times": 1, "scope": "rule"})
        provider = SmtpProvider(SmtpServerAddress("127.0.0.1", mock.smtp_port))
        outcome, after = await provider.send(mail()), await provider.send(mail())
        await provider.aclose()
    assert isinstance(outcome, Unknown)
    assert outcome.provider_wide
    assert isinstance(after, Sent)


async def test_after_nonsense_the_connection_is_not_used_again() -> None:
    async with scripted_smtp() as server, smtp(server) as provider:
        server.once["MESSAGE"] = "<html> nothing of SMTP"
        assert isinstance(await provider.send(mail()), Unknown)
        assert isinstance(await provider.send(mail()), Sent)
        assert server.connections == 2


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        provider = SmtpProvider(SmtpServerAddress("127.0.0.1", taken.getsockname()[1]))
        assert isinstance(await provider.send(mail()), Retry)
        await provider.aclose()


async def test_a_wrong_password_is_the_operators_to_mend() -> None:
    async with (
        scripted_smtp({"AUTH": "535 5.7.8 no"}) as server,
        smtp(server, username="u", password="p") as provider,
    ):
        outcome = await provider.send(mail())
        assert isinstance(outcome, Retry)
        assert outcome.code == "authentication"


async def test_the_server_id_is_kept_and_the_message_arrives_whole() -> None:
    async with scripted_smtp() as server, smtp(server) as provider:
        assert await provider.send(mail()) == Sent("4F1A")
        assert server.messages[0].count(b"\r\n..a line with a dot\r\n") == 1
        assert server.commands[1:] == ["MAIL FROM:<hello@acme.example>", "RCPT TO:<ada@example.org>", "DATA"]


async def test_connections_are_kept_open_and_bounded() -> None:
    async with scripted_smtp() as server, smtp(server, connections=3) as provider:
        outcomes = await asyncio.gather(*(provider.send(mail()) for _ in range(40)))
        assert {type(outcome) for outcome in outcomes} == {Sent}
        assert server.connections == server.most_open == 3
        await provider.aclose()
        assert server.commands.count("QUIT") == 3


async def test_a_connection_that_went_stale_is_replaced_and_nothing_is_sent_twice() -> None:
    async with scripted_smtp() as server, smtp(server) as provider:
        assert isinstance(await provider.send(mail()), Sent)
        server.once["MAIL"] = CLOSE  # the kept connection dies at its next word
        assert isinstance(await provider.send(mail()), Sent)
        assert server.connections == 2
        server.cut_all()
        assert isinstance(await provider.send(mail()), Sent)
        assert len(server.messages) == 3


async def test_an_idle_time_out_of_the_server_is_not_a_failure() -> None:
    async with scripted_smtp() as server, smtp(server) as provider:
        assert isinstance(await provider.send(mail()), Sent)
        server.once["MAIL"] = "421 4.4.2 idle too long"
        assert isinstance(await provider.send(mail()), Sent)
        assert server.connections == 2


async def test_after_a_refusal_the_same_connection_goes_on() -> None:
    async with scripted_smtp({"RCPT": "550 nobody"}) as server, smtp(server) as provider:
        assert isinstance(await provider.send(mail()), Undeliverable)
        server.script.clear()
        assert isinstance(await provider.send(mail()), Sent)
        assert server.connections == 1
        assert "RSET" in server.commands


async def test_a_cancelled_attempt_gives_its_place_back() -> None:
    async with scripted_smtp({"RCPT": HANG}) as server, smtp(server, connections=1) as provider:
        sending = asyncio.ensure_future(provider.send(mail()))
        await eventually(server.heard_recipient, seconds=5, what="the recipient")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        server.script.clear()
        assert isinstance(await provider.send(mail()), Sent)


async def test_waiting_for_a_connection_counts_as_part_of_the_attempt() -> None:
    async with scripted_smtp() as server, smtp(server, connections=1) as provider:
        # The only connection is ours, and does not come back.
        async with provider._connections.slot(), asyncio.timeout(20):
            outcome = await provider.send(mail())
        assert isinstance(outcome, Retry)
        assert outcome.code == "timeout"
        assert server.connections == 0


async def test_addresses_beyond_ascii() -> None:
    message = mail("батаа@example.org", utf8=True)
    async with scripted_smtp() as server, smtp(server) as provider:
        assert isinstance(await provider.send(message), Sent)
        assert server.commands[1:3] == [
            "MAIL FROM:<hello@acme.example> SMTPUTF8",
            "RCPT TO:<батаа@example.org>",
        ]
    assert isinstance(await outcome_of({"EHLO": "250 old"}, message), Undeliverable)


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    async with scripted_smtp(tls=server_context(tmp_path)) as server:
        async with smtp(server, tls="tls", tls_context=client_context(tmp_path)) as provider:
            assert isinstance(await provider.send(mail()), Sent)
        async with smtp(server, tls="tls", tls_context=ssl.create_default_context()) as stranger:
            assert isinstance(await stranger.send(mail()), Retry)
        assert len(server.messages) == 1


class Keeper:
    """An aiosmtpd handler that keeps what comes over TLS."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 # the hook's name
        assert session.ssl is not None
        assert isinstance(envelope.content, bytes)
        self.kept.append(envelope.content)
        return "250 2.0.0 OK"


async def test_starttls_with_a_real_server(tmp_path: Path) -> None:
    keeper = Keeper()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(
        keeper, hostname="127.0.0.1", port=port, tls_context=server_context(tmp_path), require_starttls=True
    )
    await asyncio.to_thread(controller.start)
    try:
        address = SmtpServerAddress("127.0.0.1", port, tls="starttls", tls_context=client_context(tmp_path))
        provider = SmtpProvider(address, attempt_seconds=5)
        assert isinstance(await provider.send(mail()), Sent)
        await provider.aclose()
        plain = SmtpProvider(SmtpServerAddress("127.0.0.1", port), attempt_seconds=5)
        assert isinstance(await plain.send(mail()), Retry)
        await plain.aclose()
    finally:
        await asyncio.to_thread(controller.stop)
    assert keeper.kept == [mail().content]


async def test_starttls_that_the_server_does_not_offer_never_falls_back_to_plain() -> None:
    async with scripted_smtp() as server, smtp(server, tls="starttls") as provider:
        assert isinstance(await provider.send(mail()), Retry)
        assert server.messages == []
