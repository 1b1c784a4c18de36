"""The mock WhatsApp Cloud API over HTTP: replies, errors, faults, status webhooks."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from support.mock_process import TOKEN, MockProcess, mock_process
from support.waiting import eventually

SECONDS = 5.0
APP_SECRET = "s3cret"
VERIFY_TOKEN = "verify-me"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mocks() -> AsyncIterator[MockProcess]:
    settings = {
        "whatsapp_status_delay_seconds": 0.01,
        "whatsapp_app_secret": APP_SECRET,
        "whatsapp_verify_token": VERIFY_TOKEN,
    }
    async with mock_process(slow_seconds=0.3, **settings) as running:
        yield running


@pytest_asyncio.fixture(autouse=True)
async def _clean(mocks: MockProcess) -> None:
    await mocks.http.delete("/control/faults")
    await mocks.http.put("/control/templates", json=[])
    await mocks.http.put("/control/webhook", json={})
    await mocks.http.delete("/api/messages")


@dataclass(slots=True)
class Receiver:
    """A callback URL's server: answers the challenge, keeps what is posted."""

    token: str = VERIFY_TOKEN
    refusals: int = 0
    bodies: list[tuple[bytes, str]] = field(default_factory=list)
    url: str = ""

    def statuses(self) -> list[dict[str, Any]]:
        payloads = [json.loads(body) for body, _ in self.bodies]
        return [p["entry"][0]["changes"][0]["value"]["statuses"][0] for p in payloads]

    def names(self) -> list[str]:
        return [status["status"] for status in self.statuses()]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _request_head(reader):
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            status, answer = self.answer(head, headers, body)
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
            await writer.drain()
        writer.close()

    def answer(self, head: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        if head.startswith("GET"):
            question = httpx2.URL("http://x" + head.split(" ", 2)[1]).params
            right = question["hub.mode"] == "subscribe" and question["hub.verify_token"] == self.token
            return (200, question["hub.challenge"]) if right else (403, "")
        if self.refusals:
            self.refusals -= 1
            return 500, ""
        self.bodies.append((body, headers["x-hub-signature-256"]))
        return 200, ""


async def _request_head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/whatsapp"
    yield made
    server.close()


async def statuses(receiver: Receiver, count: int) -> list[str]:
    async def enough() -> list[str]:
        return receiver.names() if len(receiver.bodies) >= count else []

    return await eventually(enough, seconds=SECONDS, what=f"{count} statuses")


def error_code(reply: httpx2.Response) -> int:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "code", "error_data", "fbtrace_id"}
    return int(error["code"])


async def test_a_text_is_accepted_and_shown(mocks: MockProcess) -> None:
    reply = await mocks.send_whatsapp("+976 8811 2233", biz_opaque_callback_data="dlv_1")
    assert reply.status_code == 200
    body = reply.json()
    assert body["messaging_product"] == "whatsapp"
    assert body["contacts"] == [{"input": "+976 8811 2233", "wa_id": "97688112233"}]
    [sent] = body["messages"]
    assert sent["id"].startswith("wamid.")
    assert sent["message_status"] == "accepted"
    [item] = (await mocks.get("/api/whatsapp", to="+97688112233"))["items"]
    assert (item["id"], item["body"], item["type"]) == (sent["id"], "Баярлалаа", "text")
    assert (item["biz_opaque_callback_data"], item["phone_number_id"]) == ("dlv_1", "1055")
    assert (await mocks.get("/api/whatsapp/count", to="97688112233"))["count"] == 1


async def test_a_template_is_shown_filled_in(mocks: MockProcess) -> None:
    await mocks.http.put(
        "/control/templates", json=[{"name": "status", "language": "mn", "body": "{{1}}: {{2}}"}]
    )
    parameters = [{"type": "text", "text": "Бат"}, {"type": "text", "text": "нээлттэй"}]
    template = {
        "name": "status",
        "language": {"code": "mn"},
        "components": [{"type": "body", "parameters": parameters}],
    }
    reply = await mocks.send_whatsapp("97688112233", type="template", template=template)
    assert reply.status_code == 200
    [item] = (await mocks.get("/api/whatsapp"))["items"]
    assert (item["body"], item["template"]) == ("Бат: нээлттэй", template)
    wrong = await mocks.send_whatsapp("97688112233", type="template", template=template | {"name": "other"})
    assert (wrong.status_code, error_code(wrong)) == (404, 132001)


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/v23.0/1055/messages", None, 401, 104),
        ("/v23.0/1055/messages", "Bearer wrong", 401, 190),
        ("/v23.0/1055/messages", f"Basic {TOKEN}", 401, 104),
        ("/latest/1055/messages", f"Bearer {TOKEN}", 400, 2500),
    ],
)
async def test_a_request_without_the_right_to_send(
    mocks: MockProcess, path: str, token: str | None, status: int, code: int
) -> None:
    headers = {} if token is None else {"Authorization": token}
    reply = await mocks.http.post(
        path, json={"messaging_product": "whatsapp", "to": "97688112233"}, headers=headers
    )
    assert (reply.status_code, error_code(reply)) == (status, code)
    assert ("WWW-Authenticate" in reply.headers) is (status == 401)
    [attempt] = (await mocks.get("/api/attempts", to="97688112233"))["items"]
    assert (attempt["outcome"], attempt["reply"]) == ("refused", f"{status} {code}")


@pytest.mark.parametrize(
    ("suffix", "status", "code"),
    [("9990003", 400, 131026), ("9990005", 500, 131016), ("9990006", 429, 130429), ("9990010", 500, 131000)],
)
async def test_a_phone_twin_refuses(mocks: MockProcess, suffix: str, status: int, code: int) -> None:
    reply = await mocks.send_whatsapp(f"+9768{suffix}")
    assert (reply.status_code, error_code(reply)) == (status, code)
    assert (await mocks.get("/api/whatsapp/count"))["count"] == 0


async def test_a_rule_chooses_the_error_code(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "reject", "channel": "whatsapp", "code": 131050, "times": 1})
    assert error_code(await mocks.send_whatsapp("97688112233")) == 131050
    assert (await mocks.send_whatsapp("97688112233")).status_code == 200


async def test_a_rule_asks_for_a_pause(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "rate_limited", "retry_after": 7, "times": 1})
    refused = await mocks.send_whatsapp("97688112233")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("garbage", "media_type"), [("noise", "application/json"), ("page", "text/html")])
async def test_an_answer_is_garbage(mocks: MockProcess, garbage: str, media_type: str, *, keep: bool) -> None:
    await mocks.rules({"fault": "garbage", "garbage": garbage, "keep": keep})
    reply = await mocks.send_whatsapp("97688112233")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith(media_type)
    with pytest.raises(ValueError, match=r"codec|Expecting"):
        reply.json()
    state = await mocks.state()
    assert (state["accepted"]["whatsapp"], state["dropped"]["whatsapp"]) == ((1, 0) if keep else (0, 1))


async def test_an_answer_ends_in_the_middle(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "garbage", "garbage": "half"})
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete"):
        await mocks.send_whatsapp("97688112233")
    assert (await mocks.state())["accepted"]["whatsapp"] == 1


@pytest.mark.parametrize(("suffix", "kept"), [("9990007", 0), ("9990011", 1)])
async def test_a_connection_is_cut_after_the_request(mocks: MockProcess, suffix: str, kept: int) -> None:
    with pytest.raises(httpx2.TransportError):
        await mocks.send_whatsapp(f"9768{suffix}")
    state = await mocks.state()
    assert state["accepted"]["whatsapp"] == kept
    assert state["dropped"]["whatsapp"] == 1 - kept


@pytest.mark.parametrize(("suffix", "kept"), [("9990004", 1), ("9990009", 0)])
async def test_a_request_that_is_never_answered(mocks: MockProcess, suffix: str, kept: int) -> None:
    async with httpx2.AsyncClient(base_url=mocks.url, timeout=0.3, trust_env=False) as impatient:
        other = MockProcess(mocks.process, impatient, mocks.url, mocks.smtp_port)
        with pytest.raises(httpx2.ReadTimeout):
            await other.send_whatsapp(f"9768{suffix}")

    async def ended() -> bool:
        state = await mocks.state()
        return bool(state["open_calls"]["whatsapp"] == 0 and state["accepted"]["whatsapp"] == kept)

    await eventually(ended, seconds=SECONDS, what="the call to end with its client")


async def test_slow_answers_late(mocks: MockProcess) -> None:
    began = asyncio.get_running_loop().time()
    assert (await mocks.send_whatsapp("97689990002")).status_code == 200
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_held_requests_stay_open_until_released(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "hold", "channel": "whatsapp", "keep": False})
    sending = [asyncio.create_task(mocks.send_whatsapp(f"9768811223{n}")) for n in range(3)]

    async def held() -> bool:
        state = await mocks.state()
        return bool(state["open_calls"]["whatsapp"] == state["held_calls"]["whatsapp"] == 3)

    await eventually(held, seconds=SECONDS, what="three held calls")
    assert (await mocks.state())["accepted"]["whatsapp"] == 0
    assert (await mocks.http.post("/control/release", json={"channel": "whatsapp"})).json() == {"released": 3}
    assert [reply.status_code for reply in await asyncio.gather(*sending)] == [200, 200, 200]
    assert (await mocks.state())["accepted"]["whatsapp"] == 3


async def test_statuses_are_posted_signed_and_in_order(mocks: MockProcess, receiver: Receiver) -> None:
    assert (await mocks.http.put("/control/webhook", json={"url": receiver.url})).status_code == 200
    receiver.refusals = 1
    reply = await mocks.send_whatsapp("97688112233", biz_opaque_callback_data="dlv_1")
    assert await statuses(receiver, 3) == ["sent", "delivered", "read"]
    wamid = reply.json()["messages"][0]["id"]
    for body, signed in receiver.bodies:
        assert signed == "sha256=" + hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    for status in receiver.statuses():
        assert (status["id"], status["biz_opaque_callback_data"]) == (wamid, "dlv_1")
        assert status["recipient_id"] == "97688112233"

    async def shown() -> bool:
        [item] = (await mocks.get("/api/whatsapp"))["items"]
        return [status["status"] for status in item["statuses"]] == ["sent", "delivered", "read"]

    await eventually(shown, seconds=SECONDS, what="the statuses in the phone")


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        ("9990001", ["sent", "failed"]),
        ("9990008", ["sent", "sent", "delivered", "delivered", "read", "read"]),
        ("9990013", ["read", "sent", "delivered"]),
        ("9990014", ["sent", "read"]),
    ],
)
async def test_a_phone_twin_has_its_own_statuses(
    mocks: MockProcess, receiver: Receiver, suffix: str, names: list[str]
) -> None:
    await mocks.http.put("/control/webhook", json={"url": receiver.url})
    await mocks.send_whatsapp(f"9768{suffix}")
    assert await statuses(receiver, len(names)) == names
    errors = [status["errors"][0]["code"] for status in receiver.statuses() if "errors" in status]
    assert errors == ([131026] if "failed" in names else [])


async def test_a_status_can_come_before_the_reply(mocks: MockProcess, receiver: Receiver) -> None:
    await mocks.http.put("/control/webhook", json={"url": receiver.url})
    await mocks.send_whatsapp("97689990015")
    assert receiver.names()[:1] == ["sent"]
    assert await statuses(receiver, 3) == ["sent", "delivered", "read"]


async def test_a_callback_url_that_fails_the_challenge_is_not_taken(
    mocks: MockProcess, receiver: Receiver
) -> None:
    receiver.token = "another"
    assert (await mocks.http.put("/control/webhook", json={"url": receiver.url})).status_code == 400
    unverified = await mocks.http.put("/control/webhook", json={"url": receiver.url, "verify": False})
    assert unverified.json() == {"url": receiver.url}


async def test_no_status_is_posted_without_a_url(mocks: MockProcess) -> None:
    await mocks.send_whatsapp("97688112233")
    assert (await mocks.state())["webhooks"] == {"pending": 0}


async def test_marking_as_read_is_answered(mocks: MockProcess) -> None:
    reply = await mocks.send_whatsapp("", status="read", message_id="wamid.X")
    assert reply.json() == {"success": True}
