"""`<carillon-inbox>` in a real browser, before a real platform."""

import json

import pytest
from playwright.async_api import Page, expect
from support.browsing import PATIENCE_MS, PERSON, Desk, violations
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)


async def _open(page: Page) -> None:
    await page.get_by_role("button", name="Notifications").click()
    await expect(page.get_by_role("dialog", name="Notifications")).to_be_visible()


async def test_what_is_sent_rings_the_bell_and_is_in_the_list(desk: Desk) -> None:
    page = await desk.page()
    await desk.send("Ticket 42 is <b>resolved</b>", "First line\nSecond line")
    await expect(page.get_by_role("button", name="Notifications, 1 unread")).to_be_visible()
    toast = page.locator(".toast")
    await expect(toast).to_contain_text("Ticket 42 is <b>resolved</b>")
    await toast.get_by_role("button", name="Close").click()
    await _open(page)
    item = page.get_by_role("listitem")
    await expect(item).to_contain_text("Second line")
    await item.get_by_role("button", name="Mark read").click()
    await expect(page.get_by_role("button", name="Notifications", exact=True)).to_be_visible()
    assert ((await desk.inbox())["unread"], (await desk.inbox())["unseen"]) == (0, 0)


async def test_one_stream_serves_all_tabs_and_another_takes_over(desk: Desk) -> None:
    first, second = await desk.page(), await desk.page()
    await desk.send("One")
    for page in (first, second):
        await expect(page.locator(".badge")).to_have_text("1")
    assert len(desk.streams) == 1
    await _open(first)
    await first.get_by_role("listitem").get_by_role("button", name="Mark read").click()
    await expect(second.locator(".badge")).to_be_hidden()
    await first.close()
    await desk.send("Two")
    await expect(second.locator(".badge")).to_have_text("1")
    assert len(desk.streams) == 2
    await _open(second)
    await expect(second.get_by_role("listitem")).to_have_count(2)


async def test_after_the_api_was_killed_the_stream_goes_on_where_it_was(desk: Desk) -> None:
    page = await desk.page()
    await desk.send("Before")
    await expect(page.locator(".badge")).to_have_text("1")
    platform = desk.platform
    await platform.stop("inapp-worker")
    event = await desk.tenant.send(
        type="message",
        data={"title": "Meanwhile", "body": ""},
        audience={"users": [PERSON]},
        channels=["inapp"],
    )
    await platform.kill("api")
    try:
        await expect(page.locator("carillon-inbox")).to_have_attribute("data-state", "offline")
        await _open(page)
        await expect(page.get_by_role("status").filter(has_text="Offline")).to_be_visible()
    finally:
        await platform.start("inapp-worker", "api")
    await desk.tenant.event_is(event, delivered=1)
    await desk.is_live(page)
    await expect(page.get_by_role("listitem")).to_have_count(2)
    await expect(page.get_by_role("listitem").first).to_contain_text("Meanwhile")
    await expect(page.get_by_text("Offline")).to_be_hidden()


async def test_a_browser_without_a_network_says_so_and_comes_back(desk: Desk) -> None:
    page = await desk.page()
    await _open(page)
    await desk.context.set_offline(offline=True)
    await expect(page.get_by_role("status").filter(has_text="Offline")).to_be_visible()
    await desk.send("While away")
    await desk.context.set_offline(offline=False)
    await expect(page.get_by_role("listitem")).to_contain_text("While away")
    await expect(page.get_by_text("Offline")).to_be_hidden()


async def test_items_are_put_away_and_come_back(desk: Desk) -> None:
    page = await desk.page()
    for title in ("One", "Two", "Three"):
        await desk.send(title)
    await _open(page)
    items = page.get_by_role("listitem")
    await items.filter(has_text="One").get_by_role("button", name="Archive").click()
    await items.filter(has_text="Two").get_by_role("button", name="Snooze").click()
    await page.get_by_role("button", name="1 hour").click()
    await items.filter(has_text="Three").get_by_role("button", name="Delete").click()
    await page.get_by_role("group").get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_text("Nothing here yet")).to_be_visible()
    assert (await desk.inbox())["unread"] == 0
    await page.get_by_role("button", name="Snoozed").click()
    await items.filter(has_text="Two").get_by_role("button", name="Wake now").click()
    await page.get_by_role("button", name="Archived").click()
    await items.filter(has_text="One").get_by_role("button", name="Back to the inbox").click()
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(items).to_have_count(2)
    await page.get_by_role("button", name="Mark all read").click()
    await page.get_by_role("button", name="Unread", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_text("You have read everything")).to_be_visible()
    assert (await desk.inbox())["unread"] == 0


async def test_a_change_that_comes_while_a_button_is_pressed_does_not_take_the_click(desk: Desk) -> None:
    page = await desk.page()
    for title in ("One", "Two"):
        await desk.send(title)
    await _open(page)
    newest, other = page.get_by_role("listitem").first, page.get_by_role("listitem").last
    await newest.get_by_role("button", name="Archive", exact=True).hover()
    await page.mouse.down()
    headers = {"Authorization": f"Bearer {await desk.tenant.token(PERSON)}"}
    await desk.tenant.call("POST", "/v1/inbox:read-all", headers=headers)
    await expect(other.get_by_role("button", name="Mark read")).to_be_hidden()  # so the list is drawn anew
    await page.mouse.up()
    await expect(page.get_by_role("listitem")).to_have_count(1)
    (archived,) = (await desk.inbox(filter="archived"))["data"]
    assert archived["title"] == "Two"


async def test_a_row_is_redrawn_only_when_it_looks_different(desk: Desk) -> None:
    page = await desk.page()
    await desk.send("One")
    await _open(page)  # which marks it seen
    button = await page.get_by_role("button", name="Mark read").element_handle()
    await desk.send("Two")
    await expect(page.get_by_role("listitem")).to_have_count(2)

    async def both_seen() -> bool:
        return int((await desk.inbox())["unseen"]) == 0

    await eventually(both_seen, seconds=20, what="both to be seen")
    await expect(page.get_by_role("button", name="Notifications, 2 unread")).to_be_visible()
    assert button is not None
    assert await button.evaluate("button => button.isConnected")


async def test_a_long_feed_comes_page_by_page_and_whole(desk: Desk) -> None:
    body = {"type": "message", "audience": {"users": [PERSON]}, "channels": ["inapp"]}
    events = [body | {"data": {"title": f"Item {n}", "body": "x" * 200}} for n in range(75)]
    await desk.tenant.call("POST", "/v1/events", expect=202, json=events)

    async def all_there() -> bool:
        return bool((await desk.inbox(limit="1"))["unread"] == 75)

    await eventually(all_there, seconds=40, what="75 items")
    page = await desk.page()
    await _open(page)
    items = page.get_by_role("listitem")
    await expect(items.nth(19)).to_be_attached()
    assert await items.count() < 75
    for _ in range(8):
        await items.last.scroll_into_view_if_needed()
    await expect(items).to_have_count(75)
    titles = await items.locator(".title").all_inner_texts()
    assert sorted(titles) == sorted(f"Item {n}" for n in range(75))
    await expect(page.get_by_role("button", name="Show older")).to_be_hidden()


async def test_everything_can_be_done_by_keyboard(desk: Desk) -> None:
    page = await desk.page()
    for title in ("Oldest", "Middle", "Newest"):
        await desk.send(title)
    await expect(page.locator(".badge")).to_have_text("3")
    await page.locator("#before").focus()
    keys = page.keyboard
    await keys.press("Tab")
    await keys.press("Enter")
    focused = page.locator("carillon-inbox li:focus")
    await expect(focused).to_contain_text("Newest")
    await keys.press("ArrowDown")
    await expect(focused).to_contain_text("Middle")
    await keys.press("r")
    await expect(page.locator("li", has_text="Middle")).not_to_have_class("item unread")
    await keys.press("e")
    await expect(focused).to_contain_text("Oldest")
    await keys.press("Delete")
    await keys.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await keys.press("End")
    await keys.press("Home")
    await expect(focused).to_contain_text("Newest")
    await keys.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.get_by_role("button", name="Notifications, 2 unread")).to_be_focused()


async def test_preferences_and_quiet_hours_are_kept(desk: Desk) -> None:
    for name, mandatory in (("ticket.closed", False), ("login.alert", True)):
        body = {"category": name.split(".")[0], "channels": ["inapp", "email"], "mandatory": mandatory}
        await desk.tenant.call("PUT", f"/v1/event-types/{name}", expect=201, json=body)
    headers = {"Authorization": f"Bearer {await desk.tenant.token(PERSON)}"}
    await desk.tenant.call("PUT", "/v1/me/muted/ticket:7", expect=204, headers=headers)
    page = await desk.page()
    await _open(page)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("checkbox", name="Ticket, E-mail").uncheck()
    await expect(page.get_by_role("checkbox", name="Login, E-mail")).to_be_disabled()
    await expect(page.get_by_text("Always sent")).to_be_visible()
    await page.get_by_role("checkbox", name="Everything, Here").uncheck()
    await expect(page.get_by_role("checkbox", name="Ticket, Here")).not_to_be_checked()
    await page.get_by_role("button", name="Add quiet hours").click()
    await page.get_by_label("From").fill("21:30")
    await page.get_by_role("checkbox", name="Sun").uncheck()
    await expect(page.get_by_text("Saved")).to_be_visible()
    assert await violations(page) == []

    async def kept() -> bool:
        chosen = await desk.me("preferences")
        quiet = chosen.get("quiet_hours", {}).get("windows", [])
        return bool(
            chosen["categories"] == {"ticket": {"email": False}}
            and chosen["all"] == {"inapp": False}
            and [(each["from"], each["to"], len(each["days"])) for each in quiet] == [("21:30", "07:00", 6)]
        )

    await eventually(kept, seconds=20, what="choices to be kept")
    assert await desk.me("muted") == ["ticket:7"]
    await page.get_by_role("button", name="Hear of it again, ticket:7").click()
    await page.get_by_role("button", name="Remove these hours").click()
    await page.get_by_role("button", name="Back").click()
    await expect(page.get_by_role("group", name="Show")).to_be_visible()

    async def ended() -> bool:
        return await desk.me("quiet-hours") is None and await desk.me("muted") == []

    await eventually(ended, seconds=20, what="quiet hours and the mute to end")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing(desk: Desk, theme: str) -> None:
    page = await desk.page(attributes=f'theme="{theme}"')
    await page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    await page.evaluate(f"document.documentElement.style.colorScheme = '{theme}'")
    await desk.send("Urgent", "Text", priority="critical")
    await expect(page.locator(".toast")).to_be_visible()
    assert await violations(page) == []
    await _open(page)
    await expect(page.get_by_role("listitem")).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("button", name="Archived").click()
    await expect(page.get_by_role("dialog").get_by_text("Nothing is archived")).to_be_visible()
    assert await violations(page) == []


async def test_it_speaks_the_pages_language_and_runs_its_way(desk: Desk) -> None:
    page = await desk.page(lang="mn", dir="rtl")
    await desk.send("Сайн байна уу")
    await page.get_by_role("button", name="Мэдэгдэл, 1 уншаагүй").click()
    await expect(page.get_by_role("button", name="Бүгдийг уншсан болгох")).to_be_visible()
    bell, panel = page.locator(".bell"), page.get_by_role("dialog")
    at, shown = await bell.bounding_box(), await panel.bounding_box()
    assert at is not None
    assert shown is not None
    assert shown["x"] >= 0
    assert at["x"] > shown["x"] + shown["width"] / 2
    await page.get_by_role("button", name="Тохиргоо").click()
    assert await page.locator(".icon-back").evaluate("it => getComputedStyle(it).transform") != "none"
    await page.evaluate("document.querySelector('carillon-inbox').setAttribute('lang', 'de')")
    await expect(page.get_by_role("button", name="Mitteilungen, 1 ungelesen")).to_be_visible()


async def test_a_page_of_another_origin_may_have_it_when_its_tenant_says_so(desk: Desk) -> None:
    elsewhere = "http://localhost:3000"
    await desk.page(origin=elsewhere, wait="offline")
    await desk.tenant.call("PUT", "/v1/tenant/origins", json={"origins": [elsewhere]})
    page = await desk.page(origin=elsewhere)
    await desk.send("From afar")
    await expect(page.locator(".badge")).to_have_text("1")
    await _open(page)
    await page.get_by_role("listitem").get_by_role("button", name="Archive").click()
    await expect(page.locator(".badge")).to_be_hidden()


async def test_a_token_that_ends_is_replaced(desk: Desk) -> None:
    short = await desk.tenant.token(PERSON, expires_in=8)  # seconds, of which a crowded machine takes some
    page = await desk.page(token=short)
    fresh = await desk.tenant.token(PERSON)
    await page.evaluate(
        """([short, fresh]) => {
            const inbox = document.querySelector("carillon-inbox");
            window.asked = 0;
            inbox.tokenSource = () => [short, fresh][Math.min(window.asked++, 1)];
        }""",
        [short, fresh],
    )
    await expect(page.locator("carillon-inbox")).to_have_attribute("data-state", "live")

    async def asked_again() -> bool:
        return bool(await page.evaluate("window.asked") == 2)

    await eventually(asked_again, seconds=40, what="a fresh token")
    await desk.is_live(page)
    await desk.send("After")
    await expect(page.locator(".badge")).to_have_text("1")
    assert await page.evaluate("window.asked") == 2


async def test_frames_are_read_whatever_the_pieces(desk: Desk) -> None:
    page = await desk.page()
    found = await page.evaluate(
        r"""async () => {
            const { FrameReader } = await import("/static/carillon-inbox.js");
            const text = ": ping\n\nretry: 70\n\n" +
                "id: 4\r\nevent: update\r\ndata: {\"a\":\r\ndata: \"é\"}\r\n\r\n" +
                "event: signal\rdata: {}\r\rid: 5\nevent: update\ndata:{}\n\nevent: half\ndata: {}\n";
            const seen = new Set();
            for (let one = 0; one <= text.length; one++) {
                for (let two = one; two <= text.length; two += 7) {
                    const reader = new FrameReader();
                    const pieces = [text.slice(0, one), text.slice(one, two), text.slice(two)];
                    const frames = pieces.flatMap((piece) => reader.take(piece));
                    seen.add(JSON.stringify([reader.retry, frames]));
                }
            }
            return [...seen];
        }"""
    )
    assert [json.loads(each) for each in found] == [
        [
            70,
            [
                {"event": "update", "id": 4, "data": {"a": "é"}},
                {"event": "signal", "id": None, "data": {}},
                {"event": "update", "id": 5, "data": {}},
            ],
        ]
    ]
