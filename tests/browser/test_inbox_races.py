"""What the element does when things come in an unlucky order, each made to happen on purpose."""

import asyncio

import pytest
from playwright.async_api import Page, Route, expect
from support.browsing import PATIENCE_MS, PERSON, Desk
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)
_INLINE = 'placement="inline" toasts="off"'
# Loses what other tabs tell of one change of the feed.
_LOSE_ONE = """
const descriptor = Object.getOwnPropertyDescriptor(BroadcastChannel.prototype, "onmessage");
window.toLose = 0;
Object.defineProperty(BroadcastChannel.prototype, "onmessage", {
    set(take) {
        descriptor.set.call(this, (event) => {
            if (event.data.kind === "frame" && event.data.frame.id && window.toLose-- > 0) return;
            take(event);
        });
    },
});
"""


async def _titles(page: Page, *titles: str) -> None:
    await expect(page.locator("li .title")).to_have_text(list(titles))


async def test_what_comes_while_an_older_page_is_on_its_way_stays(desk: Desk) -> None:
    page = await desk.page(attributes=_INLINE)
    await desk.send("Before")
    await _titles(page, "Before")
    asked, released = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()  # as the feed is now
        asked.set()
        await released.wait()
        await route.fulfill(response=answer)

    await page.route("**/v1/inbox?filter=all*", late)
    await page.get_by_role("button", name="All", exact=True).click()
    async with asyncio.timeout(20):
        await asked.wait()
    await desk.send("Meanwhile")
    await _titles(page, "Meanwhile")
    released.set()
    await _titles(page, "Meanwhile", "Before")


async def test_a_tab_that_missed_a_change_knows_and_reads_anew(desk: Desk) -> None:
    leads = await desk.page(attributes=_INLINE)
    await desk.context.add_init_script(_LOSE_ONE)
    follows = await desk.page(attributes=_INLINE)
    await desk.send("First")
    await _titles(follows, "First")
    await follows.wait_for_load_state("networkidle")  # the other tab has the stream
    await follows.evaluate("window.toLose = 1")
    await desk.send("Lost")
    await _titles(leads, "Lost", "First")
    await desk.send("Third")
    await _titles(follows, "Third", "Lost", "First")
    assert len(desk.streams) == 1


async def test_a_change_that_is_refused_leaves_the_item_as_it_was(desk: Desk) -> None:
    page = await desk.page(attributes=_INLINE)
    await desk.send("Stays")
    await _titles(page, "Stays")
    problem = {"title": "Not now.", "detail": "The feed cannot be changed now."}
    refuse = "**/v1/inbox/*-*"
    await page.route(refuse, lambda route: route.fulfill(status=503, json=problem))
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("The feed cannot be changed now.")
    await _titles(page, "Stays")
    await page.unroute(refuse)
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(page.get_by_role("region").get_by_text("Nothing here yet")).to_be_visible()


async def test_a_list_that_nobody_looks_at_does_not_grow_for_ever(desk: Desk) -> None:
    page = await desk.page(attributes='toasts="off"')
    await desk.send("There")
    await expect(page.locator("li")).to_have_count(1)
    most = await page.evaluate(
        """async () => {
            const inbox = document.querySelector("carillon-inbox");
            const item = (await inbox.client.list()).data[0];
            let most = 0;
            for (let n = 0; n < 1500; n++) {
                const made = { ...item, id: item.id.slice(0, -4) + String(n).padStart(4, "0") };
                const detail = { event: "notification", id: null, data: { item: made } };
                inbox.client.dispatchEvent(new CustomEvent("frame", { detail }));
                if (n % 100 === 0) await new Promise((done) => setTimeout(done, 60));
                most = Math.max(most, inbox.shadowRoot.querySelectorAll("li.item").length);
            }
            return most;
        }"""
    )
    assert 0 < most <= 400
    assert await page.locator("li").count() <= 400


async def test_without_locks_each_tab_has_a_stream_of_its_own(desk: Desk) -> None:
    """As on pages without HTTPS."""
    await desk.context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    pages = [await desk.page(attributes=_INLINE) for _ in range(2)]
    await desk.send("To both")
    for page in pages:
        await _titles(page, "To both")
    assert len(desk.streams) == 2


async def test_a_replica_that_stops_sends_its_pages_away_in_peace(desk: Desk) -> None:
    page = await desk.page(attributes=_INLINE)
    await page.evaluate(
        """() => {
            window.states = [];
            const inbox = document.querySelector("carillon-inbox");
            inbox.addEventListener("carillon-state", ({ detail }) => window.states.push(detail));
        }"""
    )
    await desk.platform.stop("api")
    await expect(page.get_by_role("status").filter(has_text="Connecting")).to_be_visible()
    assert (await page.evaluate("window.states"))[0] == "connecting"
    await desk.platform.start("api")
    await desk.is_live(page)
    await desk.send("After")
    await _titles(page, "After")


async def test_a_question_stays_while_its_item_changes(desk: Desk) -> None:
    page = await desk.page(attributes=_INLINE)
    await desk.send("Asked about")
    await page.get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("Delete for good?")).to_be_visible()
    headers = {"Authorization": f"Bearer {await desk.tenant.token(PERSON)}"}
    await desk.tenant.call("POST", "/v1/inbox:read-all", headers=headers)
    await expect(page.get_by_role("button", name="Mark all read")).to_be_disabled()
    await expect(page.get_by_role("button", name="Delete", exact=True)).to_be_focused()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("button", name="Mark unread")).to_be_visible()


async def test_what_is_read_elsewhere_makes_room_for_older_ones(desk: Desk) -> None:
    body = {"type": "message", "audience": {"users": [PERSON]}, "channels": ["inapp"]}
    events = [body | {"data": {"title": f"Item {n}", "body": ""}} for n in range(45)]
    await desk.tenant.call("POST", "/v1/events", expect=202, json=events)

    async def all_there() -> bool:
        return bool((await desk.inbox(limit="1"))["unread"] == 45)

    await eventually(all_there, seconds=40, what="45 items")
    page = await desk.page()
    await page.locator(".bell").click()
    await page.get_by_role("button", name="Unread", exact=True).click()
    await expect(page.get_by_role("listitem").nth(19)).to_be_attached()
    headers = {"Authorization": f"Bearer {await desk.tenant.token(PERSON)}"}
    ids = [item["id"] for item in (await desk.inbox(limit="100"))["data"]]
    change = {"ids": ids[:40], "set": {"read": True}}
    await desk.tenant.call("POST", "/v1/inbox:bulk", json=change, headers=headers)
    await expect(page.get_by_role("listitem")).to_have_count(5)
    await expect(page.get_by_text("You have read everything")).to_be_hidden()
