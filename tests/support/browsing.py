"""A person before a browser: pages with an inbox in them, and what a test wants to know of these."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Route, expect
from support.platform import Platform
from support.tenant import Tenant

PERSON = "u-7"
PATIENCE_MS = 20_000
_AXE = Path(__file__).parents[1] / "browser/vendor/axe.min.js"
# A page as any product may have one, with the strictest policy that allows scripts of one's own.
_PAGE = """<!doctype html><html lang="{lang}" dir="{dir}"><head><meta charset="utf-8"><title>Product</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script src="{api}/static/carillon-inbox.js" type="module"></script></head>
<body><main><h1>Product</h1><button id="before">Before</button>
<carillon-inbox url="{api}" token="{token}" {attributes}></carillon-inbox>{more}</main></body></html>"""
_POLICY = "default-src 'none'; script-src {api}; connect-src {api}; base-uri 'none'"


@dataclass(slots=True)
class Desk:
    """One person, one browser."""

    platform: Platform
    tenant: Tenant
    context: BrowserContext
    streams: list[str] = field(default_factory=list)  # requests for streams, of all pages

    async def page(self, **options: str) -> Page:
        """Open a product's page with an inbox; `more` is further HTML, `attributes` are the element's.

        `origin` is where the page is from, if not from the API; `wait` for which state of the stream.
        """
        api = self.platform.api_url
        origin, wait = options.pop("origin", api), options.pop("wait", "live")
        topics = options.pop("topics", "").split()
        token = options.pop("token", None) or await self.tenant.token(PERSON, topics=topics)
        values = {"api": "" if origin == api else api, "token": token}
        values |= {"lang": "en", "dir": "ltr", "attributes": "", "more": ""} | options

        async def answer(route: Route) -> None:
            headers = {
                "content-security-policy": _POLICY.format(api=api),
                "content-type": "text/html; charset=utf-8",
            }
            await route.fulfill(body=_PAGE.format(**values), headers=headers)

        page = await self.context.new_page()
        await page.route("**/product", answer)
        await page.goto(f"{origin}/product")
        await self.is_live(page, wait)
        return page

    async def is_live(self, page: Page, state: str = "live") -> None:
        """Wait until the inbox of a page has its stream, or has come to another state."""
        await expect(page.locator("carillon-inbox").first).to_have_attribute(
            "data-state", state, timeout=PATIENCE_MS
        )

    async def send(self, title: str, body: str = "", **more: Any) -> str:
        """Send the person a message in the feed; return its event once it is there."""
        event = await self.tenant.send(
            type="message",
            data={"title": title, "body": body},
            audience={"users": [PERSON]},
            channels=["inapp"],
            **more,
        )
        await self.tenant.event_is(event, delivered=1)
        return event

    async def signal(self, topic: str, **data: Any) -> None:
        """Tell how far a job is."""
        await self.tenant.call(
            "POST",
            "/v1/signals",
            expect=202,
            json={"topics": [topic], "name": "job.progress", "data": data},
        )

    async def inbox(self, **query: str) -> dict[str, Any]:
        """Return what the API says is in the person's feed."""
        headers = {"Authorization": f"Bearer {await self.tenant.token(PERSON)}"}
        found: dict[str, Any] = await self.tenant.call("GET", "/v1/inbox", params=query, headers=headers)
        return found

    async def me(self, path: str) -> Any:
        """Return a setting of the person."""
        headers = {"Authorization": f"Bearer {await self.tenant.token(PERSON)}"}
        return await self.tenant.call("GET", f"/v1/me/{path}", headers=headers)


@asynccontextmanager
async def open_desk(platform: Platform, browser: Browser) -> AsyncIterator[Desk]:
    """Register a person and open a browser context for them; fail on any error in a page."""
    tenant = await platform.new_tenant()
    await tenant.call("PUT", f"/v1/subscribers/{PERSON}", expect=201, json={"email": "u7@example.org"})
    async with _context(browser, platform, tenant) as desk:
        yield desk


@asynccontextmanager
async def second_browser(desk: Desk, browser: Browser) -> AsyncIterator[Desk]:
    """Open another context for the same person, which shares nothing with the first."""
    async with _context(browser, desk.platform, desk.tenant) as other:
        yield other


@asynccontextmanager
async def _context(browser: Browser, platform: Platform, tenant: Tenant) -> AsyncIterator[Desk]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    desk = Desk(platform, tenant, context)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("request", lambda request: _note(desk, request.url))
    try:
        yield desk
        assert not errors, errors
    finally:
        await context.close()


def _note(desk: Desk, url: str) -> None:
    if "/v1/inbox/stream" in url:
        desk.streams.append(url)


async def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page: rules of WCAG A and AA, and its best practices."""
    # Run by the test's own hand, the page's policy does not hold for it.
    await page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {json.dumps([node['target'] for node in one['nodes']])}" for one in found["violations"]
    ]


async def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(await page.evaluate(wide))
