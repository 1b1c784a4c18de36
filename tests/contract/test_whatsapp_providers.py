"""Every WhatsApp provider and its fake through one suite; then HTTP's own failures."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from carillon_shared.delivery.provider import Provider
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_whatsapp_worker.message import OutgoingWhatsapp
from carillon_whatsapp_worker.providers.cloud_api import CloudApiAccount, CloudApiProvider
from carillon_whatsapp_worker.providers.sandbox import SandboxWhatsappProvider
from carillon_whatsapp_worker.providers.twilio import TwilioAccount, TwilioProvider
from support.mock_process import TOKEN, MockProcess, mock_process

PATIENCE = 1.0  # seconds an attempt may take where the server never answers
TWILIO_TOKEN = "mock-twilio-token"
# The same refusal in the words of each; the sandbox plays the Cloud API.
TWILIO_CODES = {
    "whatsapp_131026": "twilio_63003",
    "whatsapp_130429": "twilio_20429",
    "whatsapp_131000": "twilio_20500",
}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def message(recipient: str = "+12025550147", **changes: object) -> OutgoingWhatsapp:
    body = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": recipient,
        "type": "text",
        "text": {"preview_url": False, "body": "Сайн байна"},
        "biz_opaque_callback_data": "reference",
    } | changes
    return OutgoingWhatsapp("reference", recipient, json.dumps(body).encode())


def twin(ending: int, middle: str = "202") -> str:
    """A phone number that is a simulator, by its last digits."""
    return f"+1{middle}99900{ending:02d}"


def account(url: str, token: str = TOKEN) -> CloudApiAccount:
    return CloudApiAccount(url=url, version="v23.0", phone_number_id="1055", access_token=token)


def twilio_account(url: str, token: str = TWILIO_TOKEN, **contents: str) -> TwilioAccount:
    return TwilioAccount(url, "AC1055", "+12025550100", token, contents)


def code_of(provider: Provider[OutgoingWhatsapp], code: str) -> str:
    return TWILIO_CODES[code] if provider.name == "twilio" else code


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[MockProcess]:
    async with mock_process(slow_seconds=0.05) as process:
        yield process


@pytest.fixture(params=["cloud_api", "twilio", "sandbox"])
async def provider(
    request: pytest.FixtureRequest, mock: MockProcess
) -> AsyncIterator[Provider[OutgoingWhatsapp]]:
    made: Provider[OutgoingWhatsapp] = SandboxWhatsappProvider()
    if request.param == "cloud_api":
        made = CloudApiProvider(account(mock.url), attempt_seconds=_seconds(request))
    if request.param == "twilio":
        made = TwilioProvider(twilio_account(mock.url), attempt_seconds=_seconds(request))
    yield made
    await made.aclose()


def _seconds(request: pytest.FixtureRequest) -> float:
    """Be patient with a busy machine, except where no answer will ever come."""
    return PATIENCE if "no_answer" in request.node.name else 20.0


# --- the suite that the real providers and the fake pass


@pytest.mark.parametrize("recipient", ["+12025550147", twin(1), twin(2), twin(8)])
async def test_what_is_accepted_is_sent(provider: Provider[OutgoingWhatsapp], recipient: str) -> None:
    outcome = await provider.send(message(recipient))
    assert isinstance(outcome, Sent)
    assert outcome.provider_id


async def test_who_is_not_on_whatsapp_is_undeliverable(provider: Provider[OutgoingWhatsapp]) -> None:
    outcome = await provider.send(message(twin(3)))
    assert isinstance(outcome, Undeliverable)
    assert outcome.code == code_of(provider, "whatsapp_131026")


@pytest.mark.parametrize(("ending", "code"), [(6, "whatsapp_130429"), (10, "whatsapp_131000")])
async def test_passing_refusals_are_retried(
    provider: Provider[OutgoingWhatsapp], ending: int, code: str
) -> None:
    outcome = await provider.send(message(twin(ending)))
    assert isinstance(outcome, Retry)
    assert outcome.code == code_of(provider, code)


async def test_the_third_try_succeeds(provider: Provider[OutgoingWhatsapp]) -> None:
    one = message(twin(5, "303"))
    kinds = [type(await provider.send(one)) for _ in range(6)]
    assert kinds == [Retry, Retry, Sent, Retry, Retry, Sent]


@pytest.mark.parametrize(
    ("ending", "code"), [(4, "timeout"), (9, "timeout"), (7, "disconnected"), (11, "disconnected")]
)
async def test_no_answer_to_the_request_is_unknown(
    provider: Provider[OutgoingWhatsapp], ending: int, code: str
) -> None:
    outcome = await provider.send(message(twin(ending)))
    assert isinstance(outcome, Unknown)
    assert outcome.code == code


async def test_many_at_once(provider: Provider[OutgoingWhatsapp]) -> None:
    outcomes = await asyncio.gather(*(provider.send(message(f"+120255501{n:02d}")) for n in range(60)))
    assert {type(outcome) for outcome in outcomes} == {Sent}


async def test_a_failure_does_not_spoil_what_follows(provider: Provider[OutgoingWhatsapp]) -> None:
    recipients = [twin(3), "+12025550147", twin(7), "+12025550147", twin(10), "+12025550147"]
    kinds = [type(await provider.send(message(recipient))) for recipient in recipients]
    assert kinds == [Undeliverable, Sent, Unknown, Sent, Retry, Sent]


async def test_closing_twice_is_harmless(provider: Provider[OutgoingWhatsapp]) -> None:
    await provider.send(message())
    await provider.aclose()
    await provider.aclose()


# --- the Cloud API itself


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (190, Retry),
        (80007, Retry),
        (131056, Retry),
        (131047, Rejected),
        (132001, Rejected),
        (131050, Undeliverable),
    ],
)
async def test_errors_of_the_api(mock: MockProcess, code: int, kind: type[Outcome]) -> None:
    number = f"+1909555{code % 10_000:04d}"
    await mock.rules({"fault": "reject", "match": number[1:], "code": code})
    provider = CloudApiProvider(account(mock.url))
    outcome = await provider.send(message(number))
    await provider.aclose()
    await mock.rules()
    assert isinstance(outcome, kind)
    assert getattr(outcome, "code", None) == f"whatsapp_{code}"


async def test_a_wrong_token_is_the_operators_to_mend(mock: MockProcess) -> None:
    provider = CloudApiProvider(account(mock.url, "wrong"))
    outcome = await provider.send(message())
    await provider.aclose()
    assert isinstance(outcome, Retry)
    assert outcome.code == "whatsapp_190"


async def test_a_request_the_api_cannot_read_is_rejected(mock: MockProcess) -> None:
    provider = CloudApiProvider(account(mock.url))
    outcome = await provider.send(message(type="carrier-pigeon"))
    await provider.aclose()
    assert isinstance(outcome, Rejected)


def test_the_token_is_in_no_text() -> None:
    assert TOKEN not in repr(account("http://127.0.0.1"))


# --- HTTP step by step

TAKEN = b'{"messages":[{"id":"wamid"}]}'


@asynccontextmanager
async def http_server(serve: Serve) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        tasks.discard(task)

    server = await asyncio.start_server(kept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


def answering(raw: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()

    return serve


async def hanging(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await asyncio.get_running_loop().create_future()


async def outcome_of(serve: Serve) -> Outcome:
    async with http_server(serve) as url:
        provider = CloudApiProvider(account(url), attempt_seconds=PATIENCE)
        outcome = await provider.send(message())
        await provider.aclose()
        return outcome


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", Unknown),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Unknown),
        (b"nonsense\r\n\r\n", Unknown),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x00\xff{]", Unknown),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", Unknown),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 29\r\n\r\n" + TAKEN, Sent),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Unknown),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Unknown),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Retry),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", Rejected),
    ],
)
async def test_odd_answers(raw: bytes, kind: type[Outcome]) -> None:
    outcome = await outcome_of(answering(raw))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Retry) or outcome.after == 7


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    read: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b" " * 10_000)
            await writer.drain()
            read.append(10_000)

    outcome = await outcome_of(serve)
    assert isinstance(outcome, Unknown)
    assert outcome.code == "malformed_reply"
    assert sum(read) < 10_000_000  # what the sockets hold comes on top


@pytest.mark.parametrize("garbage", ["noise", "half", "page"])
async def test_an_answer_nobody_can_read_is_unknown(mock: MockProcess, garbage: str) -> None:
    await mock.rules({"fault": "garbage", "garbage": garbage, "match": "12025550199"})
    provider = CloudApiProvider(account(mock.url))
    outcome = await provider.send(message("+12025550199"))
    after = await provider.send(message())
    await provider.aclose()
    await mock.rules()
    assert isinstance(outcome, Unknown)
    assert outcome.provider_wide
    assert isinstance(after, Sent)


async def test_no_answer_in_time() -> None:
    outcome = await outcome_of(hanging)
    assert isinstance(outcome, Unknown)
    assert outcome.code == "timeout"


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        provider = CloudApiProvider(account(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        outcome = await provider.send(message())
        await provider.aclose()
    assert isinstance(outcome, Retry)
    assert outcome.code == "connection"


async def test_what_the_server_heard_is_never_retried_blindly() -> None:
    heard: list[int] = []

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        heard.append(1)
        await asyncio.get_running_loop().create_future()

    async with http_server(serve) as url:
        provider = CloudApiProvider(account(url), connections=1, attempt_seconds=PATIENCE)
        outcomes = await asyncio.gather(*(provider.send(message()) for _ in range(5)))
        await provider.aclose()
    kinds = [type(outcome) for outcome in outcomes]
    # a waiting one may still get the connection in its last moment, and then it is unknown too
    assert 1 <= len(heard) <= kinds.count(Unknown)
    assert set(kinds) <= {Unknown, Retry}


async def test_connections_are_kept_open_and_bounded() -> None:
    accepted = json.dumps({"messages": [{"id": "wamid.X"}]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(accepted)}\r\n\r\n".encode()
    opened: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        while True:
            await read_request(reader)
            writer.write(head + accepted)

    async with http_server(serve) as url:
        provider = CloudApiProvider(account(url), connections=2)
        outcomes = await asyncio.gather(*(provider.send(message()) for _ in range(20)))
        await provider.aclose()
    assert set(outcomes) == {Sent("wamid.X")}
    assert len(opened) == 2
