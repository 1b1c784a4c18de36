"""`<carillon-progress>` in a real browser."""

import pytest
from playwright.async_api import expect
from support.browsing import PATIENCE_MS, Desk, violations

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)
_BAR = '<carillon-progress topic="job:17" label="Import"></carillon-progress>'


async def test_it_follows_a_job_and_goes_on_after_a_reload(desk: Desk) -> None:
    page = await desk.page(more=_BAR, topics="job:17")
    bar = page.get_by_role("progressbar", name="Import")
    await expect(bar).not_to_have_attribute("aria-valuenow", "0")
    await desk.signal("job:17", current=3, total=10, message="3 of 10")
    await expect(bar).to_have_attribute("aria-valuenow", "30")
    await expect(page.locator(".message")).to_have_text("3 of 10")
    assert await violations(page) == []
    await page.reload()
    await expect(bar).to_have_attribute("aria-valuenow", "30")
    await desk.signal("job:17", percentage=100, status="done")
    await expect(page.locator("carillon-progress")).to_have_attribute("data-state", "done")
    await expect(page.get_by_role("status").filter(has_text="Done")).to_be_attached()


async def test_a_job_that_fails_says_so(desk: Desk) -> None:
    page = await desk.page(more=_BAR, topics="job:17")
    await desk.signal("job:17", percentage=70, status="failed", message="The disk is full")
    await expect(page.locator("carillon-progress")).to_have_attribute("data-state", "failed")
    await expect(page.get_by_role("status").filter(has_text="Failed. The disk is full")).to_be_attached()
    assert await violations(page) == []


async def test_a_second_tab_with_another_job_shares_the_stream(desk: Desk) -> None:
    other = _BAR.replace("job:17", "job:18")
    first = await desk.page(more=_BAR, topics="job:17 job:18")
    second = await desk.page(more=other, topics="job:17 job:18")
    for topic, percent in (("job:17", 20), ("job:18", 60)):
        await desk.signal(topic, percentage=percent)
    await expect(first.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "20")
    await expect(second.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "60")


async def test_what_one_may_not_follow_leaves_the_feed_alone(desk: Desk) -> None:
    page = await desk.page(more=_BAR)
    await expect(page.locator(".message")).to_have_text("You may not follow this.")
    await desk.send("Still here")
    await expect(page.locator(".badge")).to_have_text("1")
