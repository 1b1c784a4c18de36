"""The mock providers as a process: SMTP as real clients speak it, the JSON and control APIs, the page."""

import asyncio
import smtplib
import socket
import sys
from collections.abc import AsyncIterator

import aiosmtplib
import httpx2
import pytest
import pytest_asyncio
from support.mock_process import MockProcess, mail, mock_process
from support.waiting import eventually

SECONDS = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mocks() -> AsyncIterator[MockProcess]:
    async with mock_process(slow_seconds=0.3, bounce_seconds=0.05, smtp_size_limit=20_000) as running:
        yield running


@pytest_asyncio.fixture(autouse=True)
async def _clean(mocks: MockProcess) -> None:
    await mocks.http.delete("/control/faults")
    await mocks.http.post("/control/release", json={})
    await mocks.http.delete("/api/messages")


async def open_calls(mocks: MockProcess, channel: str, count: int) -> None:
    async def enough() -> bool:
        state = await mocks.state()
        return bool(state["open_calls"][channel] == count)

    await eventually(enough, seconds=SECONDS, what=f"{count} open calls of {channel}")


async def outcomes(mocks: MockProcess, to: str) -> list[tuple[str, bool]]:
    page = await mocks.get("/api/attempts", to=to)
    return [(item["outcome"], item["reply"] is not None) for item in page["items"]]


async def test_a_mail_arrives_as_sent(mocks: MockProcess) -> None:
    assert (await mocks.send_mail("bat@x.example", subject="Шинэ захиалга")).startswith("2.0.0 OK queued as ")
    page = await mocks.get("/api/mail", to="BAT@x.example")
    assert page["total"] == 1
    [item] = page["items"]
    assert item["subject"] == item["headers"]["Subject"] == "Шинэ захиалга"
    assert item["from"] == "Дэлгүүр <from@shop.example>"
    assert item["envelope"] == {"from": "from@shop.example", "to": ["bat@x.example"]}
    assert item["text"] == "Баярлалаа?\r\n.a line with a dot\r\n"
    assert item["html"] == "<p>Баярлалаа?</p>\r\n"
    source = await mocks.http.get(f"/api/mail/{item['n']}")
    assert source.content == mail("bat@x.example", "Шинэ захиалга")
    assert item["size"] == len(source.content)


async def test_the_standard_library_client_is_understood(mocks: MockProcess) -> None:
    def send() -> dict[str, str]:
        with smtplib.SMTP("127.0.0.1", mocks.smtp_port, timeout=SECONDS) as client:
            client.ehlo()
            client.sendmail(
                "from@shop.example",
                ["өнөр@x.example"],
                mail("өнөр@x.example", "UTF-8 address"),
                mail_options=["SMTPUTF8", "BODY=8BITMIME"],
            )
            return client.esmtp_features

    features = await asyncio.to_thread(send)
    assert {"size", "8bitmime", "smtputf8", "pipelining", "enhancedstatuscodes"} <= set(features)
    assert "auth" not in features
    assert (await mocks.get("/api/mail/count", to="өнөр@x.example"))["count"] == 1


async def test_pipelined_commands_are_answered_in_order(mocks: MockProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mocks.smtp_port)
    writer.write(
        b"EHLO a\r\nMAIL FROM:<a@x.example>\r\n"
        b"RCPT TO:<reject@x.example>\r\nRCPT TO:<ok@x.example>\r\nDATA\r\n"
    )
    await reader.readuntil(b"250 HELP\r\n")
    codes = [(await reader.readline())[:3] for _ in range(4)]
    writer.write(b"Subject: piped\r\n\r\n..dot\r\n.\r\nQUIT\r\n")
    codes += [(await reader.readline())[:3] for _ in range(2)]
    writer.close()
    await writer.wait_closed()
    assert codes == [b"250", b"550", b"250", b"354", b"250", b"221"]
    [item] = (await mocks.get("/api/mail", to="ok@x.example"))["items"]
    assert item["text"] == ".dot\r\n"


async def test_a_message_over_the_size_limit_is_refused(mocks: MockProcess) -> None:
    with pytest.raises(aiosmtplib.SMTPException, match="552"):
        await mocks.send_mail("bat@x.example", subject="x" * 30_000)


@pytest.mark.parametrize(
    ("local_part", "code"), [("reject", 550), ("429", 450), ("retry", 451), ("500", 451)]
)
async def test_a_refused_mail_is_recorded_as_an_attempt_only(
    mocks: MockProcess, local_part: str, code: int
) -> None:
    recipient = f"{local_part}@x.example"
    with pytest.raises(aiosmtplib.SMTPException, match=str(code)):
        await mocks.send_mail(recipient)
    assert (await mocks.get("/api/mail/count"))["count"] == 0
    assert await outcomes(mocks, recipient) == [("refused", True)]


async def test_retry_accepts_the_third_try(mocks: MockProcess) -> None:
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await mocks.send_mail("retry+third@x.example")
    await mocks.send_mail("retry+third@x.example")
    assert [outcome for outcome, _ in await outcomes(mocks, "retry+third@x.example")] == [
        "refused",
        "refused",
        "accepted",
    ]


@pytest.mark.parametrize(("local_part", "kept"), [("timeout", 1), ("hang", 0)])
async def test_a_mail_that_is_never_answered(mocks: MockProcess, local_part: str, kept: int) -> None:
    recipient = f"{local_part}@x.example"
    sending = asyncio.create_task(mocks.send_mail(recipient, timeout=0.5))
    await open_calls(mocks, "smtp", 1)
    with pytest.raises(aiosmtplib.SMTPException):
        await sending
    await open_calls(mocks, "smtp", 0)
    assert (await mocks.get("/api/mail/count", to=recipient))["count"] == kept
    assert await outcomes(mocks, recipient) == [("accepted" if kept else "dropped", False)]


@pytest.mark.parametrize(("local_part", "kept"), [("reset", 0), ("lostreply", 1)])
async def test_a_connection_is_cut_after_the_message(mocks: MockProcess, local_part: str, kept: int) -> None:
    recipient = f"{local_part}@x.example"
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await mocks.send_mail(recipient)
    assert (await mocks.get("/api/mail/count", to=recipient))["count"] == kept
    assert await outcomes(mocks, recipient) == [("accepted" if kept else "dropped", False)]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("garbage", ["noise", "half", "page"])
async def test_the_answer_to_a_mail_is_garbage(mocks: MockProcess, garbage: str, *, keep: bool) -> None:
    await mocks.rules({"fault": "garbage", "garbage": garbage, "keep": keep})
    half = garbage == "half"
    error = aiosmtplib.SMTPServerDisconnected if half else aiosmtplib.SMTPResponseException
    with pytest.raises(error):
        await mocks.send_mail("ada@x.example")
    assert await outcomes(mocks, "ada@x.example") == [("accepted" if keep else "dropped", True)]


async def test_slow_answers_late(mocks: MockProcess) -> None:
    began = asyncio.get_running_loop().time()
    await mocks.send_mail("slow@x.example")
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_bounce_comes_after_acceptance(mocks: MockProcess) -> None:
    await mocks.send_mail(["bounce@x.example", "bat@x.example"])

    async def bounces() -> list[dict[str, str]]:
        return list((await mocks.get("/api/bounces"))["items"])

    [bounce] = await eventually(bounces, seconds=SECONDS, what="a bounce")
    [item] = (await mocks.get("/api/mail", to="bounce@x.example"))["items"]
    assert (bounce["to"], bounce["message_id"]) == ("bounce@x.example", item["message_id"])
    assert (bounce["action"], bounce["status"]) == ("failed", "5.1.1")


async def test_duplicate_keeps_a_marked_copy(mocks: MockProcess) -> None:
    await mocks.send_mail("duplicate@x.example")
    first, second = (await mocks.get("/api/mail", to="duplicate@x.example"))["items"]
    assert (first["copy_of"], second["copy_of"]) == (None, first["n"])


async def test_held_mails_stay_open_until_released(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "hold", "channel": "smtp", "match": "*@hold.example"})
    people = [f"p{n}@hold.example" for n in range(5)]
    sending = [asyncio.create_task(mocks.send_mail(person, timeout=20)) for person in people]
    await open_calls(mocks, "smtp", 5)
    state = await mocks.state()
    assert (state["held_calls"]["smtp"], state["accepted"]["smtp"]) == (5, 5)
    assert await outcomes(mocks, people[0]) == [("accepted", False)]
    released = await mocks.http.post("/control/release", json={"channel": "smtp", "match": "p[01]@*"})
    assert released.json() == {"released": 2}
    await asyncio.gather(*sending[:2])
    assert [task.done() for task in sending] == [True, True, False, False, False]
    await mocks.http.post("/control/release")
    await asyncio.gather(*sending)
    await open_calls(mocks, "smtp", 0)


async def test_a_killed_client_ends_its_held_call(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "hold", "keep": False})
    script = (
        "import smtplib\n"
        f"client = smtplib.SMTP('127.0.0.1', {mocks.smtp_port})\n"
        "client.sendmail('a@x.example', ['b@x.example'], 'Subject: x')\n"
    )
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await open_calls(mocks, "smtp", 1)
    client.kill()
    await client.wait()
    await open_calls(mocks, "smtp", 0)
    assert (await mocks.state())["accepted"]["smtp"] == 0
    assert await outcomes(mocks, "b@x.example") == [("dropped", False)]


async def test_rules_are_put_read_and_taken_away(mocks: MockProcess) -> None:
    await mocks.rules({"fault": "reject", "match": "bat@*", "times": 1, "code": 552}, seed=7)
    put = await mocks.get("/control/faults")
    assert (put["seed"], put["rules"][0]["times"], put["rules"][0]["rate"]) == (7, 1, 1.0)
    with pytest.raises(aiosmtplib.SMTPException, match="552"):
        await mocks.send_mail("bat@x.example")
    await mocks.send_mail("bat@x.example")
    assert (await mocks.http.delete("/control/faults")).json()["rules"] == []


@pytest.mark.parametrize(
    "rule", [{"fault": "explode"}, {"fault": "slow", "rate": 2}, {"fault": "slow", "tmies": 1}, {}]
)
async def test_a_wrong_rule_is_refused(mocks: MockProcess, rule: dict[str, object]) -> None:
    assert (await mocks.http.put("/control/faults", json=[rule])).status_code == 422


async def test_reading_goes_on_from_a_number(mocks: MockProcess) -> None:
    for n in range(3):
        await mocks.send_mail("bat@x.example", subject=f"s{n}")
    first = await mocks.get("/api/mail", limit=2, detail=False)
    assert [item["subject"] for item in first["items"]] == ["s1", "s2"]
    rest = await mocks.get("/api/mail", since=first["items"][0]["n"])
    assert [item["subject"] for item in rest["items"]] == ["s2"]
    assert (await mocks.http.get("/api/mail", params={"since": "soon"})).status_code == 400
    assert (await mocks.http.get("/api/mail/999999")).status_code == 404


async def test_clearing_forgets_messages(mocks: MockProcess) -> None:
    await mocks.send_mail("bat@x.example")
    assert (await mocks.http.delete("/api/messages")).json() == {"mail": 1, "whatsapp": 0}
    assert await mocks.get("/api/mail/count") == {"count": 0, "accepted": 0}
    assert (await mocks.state())["accepted"] == {"smtp": 0, "whatsapp": 0, "resend": 0, "twilio": 0}


async def test_the_page_and_its_files_are_served(mocks: MockProcess) -> None:
    page = await mocks.http.get("/")
    assert (
        "script-src" in page.headers["Content-Security-Policy"]
        or "default-src 'self'" in (page.headers["Content-Security-Policy"])
    )
    assert "bounce@" in page.text
    for path in ("/static/page.js", "/static/style.css", "/static/icon.svg"):
        assert path in page.text
        assert (await mocks.http.get(path)).status_code == 200
    assert (await mocks.http.get("/livez")).text == "ok"


async def test_a_mails_html_cannot_run_scripts(mocks: MockProcess) -> None:
    await mocks.send_mail("bat@x.example")
    [item] = (await mocks.get("/api/mail"))["items"]
    shown = await mocks.http.get(f"/api/mail/{item['n']}/html")
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-popups")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


async def test_the_overview_lists_people(mocks: MockProcess) -> None:
    before = await mocks.get("/api/overview")
    await mocks.send_mail("bat@x.example", subject="Шинэ")
    await mocks.send_mail("od@x.example")
    await mocks.send_whatsapp("+97688112233")
    overview = await mocks.get("/api/overview")
    assert overview["revision"] != before["revision"]
    assert [box["address"] for box in overview["mailboxes"]] == ["od@x.example", "bat@x.example"]
    assert overview["mailboxes"][1]["last_subject"] == "Шинэ"
    assert [phone["number"] for phone in overview["phones"]] == ["97688112233"]
    found = await mocks.get("/api/overview", containing="BAT")
    assert [box["address"] for box in found["mailboxes"]] == ["bat@x.example"]


async def test_mail_needs_a_login_when_a_user_is_set() -> None:
    async with mock_process(smtp_user="carillon", smtp_password="right") as mocks:
        with pytest.raises(aiosmtplib.SMTPException, match="530"):
            await mocks.send_mail("bat@x.example")
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=mocks.smtp_port, start_tls=False, timeout=SECONDS)
        async with client:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await client.login("carillon", "wrong")
            await client.login("carillon", "right")
            await client.sendmail("a@x.example", ["bat@x.example"], mail("bat@x.example", "x"))
        assert (await mocks.get("/api/mail/count"))["count"] == 1


async def test_sigterm_ends_it_at_once_even_with_calls_open() -> None:
    async with mock_process() as mocks:
        calls = [
            asyncio.create_task(mocks.send_mail("hold@x.example", timeout=20)),
            asyncio.create_task(mocks.send_whatsapp("97689990012")),
        ]
        await open_calls(mocks, "smtp", 1)
        await open_calls(mocks, "whatsapp", 1)
        code, seconds, output = await mocks.stop()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(result, aiosmtplib.SMTPException | httpx2.HTTPError) for result in results] == [
            True
        ] * 2
        assert (code, output) == (0, b"")
        assert seconds < 2


async def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "carillon_mock_providers",
            env={"CARILLON_MOCK_SMTP_PORT": str(taken.getsockname()[1]), "CARILLON_MOCK_HTTP_PORT": "0"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert errors.startswith(b"Cannot listen on 127.0.0.1")
    assert len(errors.splitlines()) == 1
