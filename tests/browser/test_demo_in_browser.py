"""`/demo`: two people side by side, buttons that send, a job's progress; on a desk and on a phone."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from support.browsing import PATIENCE_MS, Desk, overflow, violations

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)


async def _demo(desk: Desk, *, width: int, height: int) -> Page:
    page = await desk.context.new_page()
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(reduced_motion="reduce")
    await page.goto(f"{desk.platform.api_url}/demo#key={desk.tenant.key}")
    for inbox in await page.locator("carillon-inbox").all():
        await expect(inbox).to_have_attribute("data-state", "live")
    return page


async def test_two_people_side_by_side(desk: Desk, tmp_path: Path) -> None:
    page = await _demo(desk, width=1440, height=900)
    assert desk.tenant.key not in page.url
    bat, chimeg = page.locator("#inbox-bat"), page.locator("#inbox-chimeg")
    await page.get_by_role("button", name="To bat").click()
    await expect(bat.locator(".badge")).to_have_text("1")
    await expect(chimeg.locator(".badge")).to_be_hidden()
    await page.get_by_role("button", name="Ten at once").click()
    await expect(bat.locator(".badge")).to_have_text("11")
    await expect(chimeg.locator(".badge")).to_have_text("10")
    await expect(bat.locator(".toast").last).to_contain_text("new notifications")
    await page.screenshot(path=tmp_path / "desk-toasts.png")
    for name in ("bat", "chimeg"):
        await page.locator(f"#inbox-{name}").locator(".bell").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.screenshot(path=tmp_path / f"desk-{name}.png")
        assert await overflow(page) == 0
    assert await violations(page) == []


async def test_a_job_is_followed_by_both_to_its_end(desk: Desk) -> None:
    page = await _demo(desk, width=1440, height=900)
    bars = page.get_by_role("progressbar")
    await page.get_by_role("button", name="Run a job", exact=True).click()
    await expect(page.locator("carillon-progress[data-state=going]")).to_have_count(2)
    await expect(page.locator("carillon-progress[data-state=done]")).to_have_count(2)
    assert await bars.count() == 2
    await page.get_by_role("button", name="Run a job that fails").click()
    await expect(page.locator("carillon-progress[data-state=failed]")).to_have_count(2)


async def test_on_a_phone_the_inbox_takes_the_whole_screen(desk: Desk, tmp_path: Path) -> None:
    page = await _demo(desk, width=390, height=844)
    assert await overflow(page) == 0
    await page.get_by_role("button", name="To both").click()
    await expect(page.locator(".badge").first).to_have_text("1")
    await page.screenshot(path=tmp_path / "phone.png", full_page=True)
    assert await violations(page) == []
    await page.locator("#inbox-bat").locator(".bell").click()
    box = await page.get_by_role("dialog").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 844}
    await page.screenshot(path=tmp_path / "phone-open.png")
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("checkbox", name="Everything, Here")).to_be_visible()
    await page.screenshot(path=tmp_path / "phone-settings.png")
    assert await violations(page) == []
    await page.get_by_role("button", name="Close").first.click()
    await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_language_theme_and_direction_can_be_tried(desk: Desk, tmp_path: Path) -> None:
    page = await _demo(desk, width=1440, height=900)
    await page.get_by_label("Language").select_option("mn")
    await page.get_by_label("Theme").select_option("dark")
    await page.get_by_label("Right to left").check()
    await page.get_by_role("button", name="To both").click()
    await page.locator("#inbox-bat").get_by_role("button", name="Мэдэгдэл, 1 уншаагүй").click()
    await expect(page.get_by_role("dialog", name="Мэдэгдэл")).to_be_visible()
    await page.screenshot(path=tmp_path / "desk-mn-dark-rtl.png")
    assert await overflow(page) == 0
    assert await violations(page) == []


async def test_a_token_shows_one_inbox_and_a_wrong_one_says_so(desk: Desk) -> None:
    page = await desk.context.new_page()
    await page.goto(f"{desk.platform.api_url}/demo")
    assert await violations(page) == []
    await page.get_by_label("API key or subscriber token").fill("nonsense")
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("API key or subscriber token").fill(await desk.tenant.token("u-7"))
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("carillon-inbox")).to_have_attribute("data-state", "live")
    await expect(page.get_by_role("button", name="To bat")).to_be_hidden()
    await page.reload()
    await expect(page.locator("carillon-inbox")).to_have_attribute("data-state", "live")
    await page.get_by_role("button", name="Leave").click()
    await expect(page.get_by_label("API key or subscriber token")).to_be_visible()
