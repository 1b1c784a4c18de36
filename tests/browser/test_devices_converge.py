"""Whatever happens, in the end every page of a person shows what the server has, each change once."""

import asyncio
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Page
from support.browsing import PERSON, Desk
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)
_STEPS = 45
_MOST_ITEMS = 15  # fewer than a page of the list

# Written into each page before anything happens: the changes that its client tells of, in their order.
_RECORD = """() => {
    window.told = [];
    const { client } = document.querySelector("carillon-inbox");
    client.addEventListener("frame", ({ detail }) => detail.id !== null && window.told.push(detail.id));
}"""
_SHOWN = """() => {
    const inbox = document.querySelector("carillon-inbox");
    const rows = [...inbox.shadowRoot.querySelectorAll("li.item")];
    const items = rows.map((row) => [row.dataset.id, row.classList.contains("unread")]);
    return { items, counts: inbox.client.counts, state: inbox.dataset.state };
}"""


@dataclass(slots=True)
class _World:
    """One person with two browsers, one of them with several tabs, and services that write."""

    desk: Desk
    other: Desk
    chance: random.Random
    headers: dict[str, str]
    pages: list[Page] = field(default_factory=list)
    sent: int = 0
    losing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self, desk: Desk) -> None:
        page = await desk.page(attributes='placement="inline" toasts="off"')
        await page.evaluate(_RECORD)
        self.pages.append(page)

    async def step(self) -> None:
        acts = [self.send, self.send, self.change, self.change, self.change, self.bulk, self.mark, self.lose]
        await self.chance.choice(acts)()

    async def send(self) -> None:
        self.sent += 1
        if self.sent <= _MOST_ITEMS:
            await self.desk.tenant.send(
                type="message",
                data={"title": f"Item {self.sent}", "body": ""},
                audience={"users": [PERSON]},
                channels=["inapp"],
            )

    async def change(self) -> None:
        items = await self.items()
        if not items:
            return
        path = f"/v1/inbox/{self.chance.choice(items)['id']}"
        if self.chance.random() < 0.1:
            await self.call("DELETE", path)
        else:
            what = self.chance.choice(["read", "archived", "seen"])
            await self.call("PATCH", path, json={what: self.chance.random() < 0.6})

    async def bulk(self) -> None:
        ids = [item["id"] for item in await self.items()]
        if ids:
            some = self.chance.sample(ids, k=min(3, len(ids)))
            await self.call(
                "POST", "/v1/inbox:bulk", json={"ids": some, "set": {"read": self.chance.random() < 0.5}}
            )

    async def mark(self) -> None:
        await self.call("POST", f"/v1/inbox:{self.chance.choice(['read-all', 'seen-all', 'archive-read'])}")

    async def lose(self) -> None:
        """A browser is without a network for a moment, or the tab that leads is closed and another opened."""
        desk, network = self.chance.choice([self.desk, self.other]), self.chance.random() < 0.6
        async with self.losing:
            if network:
                await desk.context.set_offline(offline=True)
                await self.change()
                await desk.context.set_offline(offline=False)
            else:
                eldest = self.desk.context.pages[0]
                self.pages.remove(eldest)
                await eldest.close()
                await self.open(self.desk)

    async def items(self) -> list[dict[str, Any]]:
        shown, archived = [
            (await self.call("GET", "/v1/inbox", params={"filter": each}))["data"]
            for each in ("all", "archived")
        ]
        found: list[dict[str, Any]] = shown + archived
        return found

    async def call(self, method: str, path: str, **options: Any) -> Any:
        reply = await self.desk.tenant.http.request(method, path, headers=self.headers, **options)
        assert reply.status_code in {200, 404}, reply.text  # 404: somebody else has deleted it
        return reply.json()

    async def agrees(self, page: Page) -> bool:
        """Tell whether a page shows what the server has."""
        there = await self.call("GET", "/v1/inbox", params={"limit": 50})
        shown = await page.evaluate(_SHOWN)
        items = [[item["id"], item["read_at"] is None] for item in there["data"]]
        counts = {name: there[name] for name in ("unread", "unseen", "seq")}
        return bool(shown == {"items": items, "counts": counts, "state": "live"})


async def test_every_page_ends_where_the_server_is(desk: Desk, other: Desk) -> None:
    seed = int(os.environ.get("CARILLON_TEST_SEED", random.randrange(10**6)))  # noqa: S311 - chooses a game
    headers = {"Authorization": f"Bearer {await desk.tenant.token(PERSON)}"}
    world = _World(desk, other, random.Random(seed), headers)  # noqa: S311 - played again by its seed
    for each in (desk, desk, other):
        await world.open(each)
    for _ in range(_STEPS // 3):
        await asyncio.gather(world.step(), world.step(), world.step())
    for page in world.pages:

        async def agrees(page: Page = page) -> bool:
            return await world.agrees(page)

        await eventually(agrees, seconds=60, what=f"a page to show the feed (seed {seed})")
        told = await page.evaluate("window.told")
        assert told == sorted(set(told)), f"a change told twice or out of order (seed {seed}): {told}"
