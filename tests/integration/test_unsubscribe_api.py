"""`/v1/unsubscribe`: reading changes nothing, one POST is enough (RFC 8058)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.unsubscribe import MailingOf, sign_mailing
from support.events_api import make_producer, open_api
from support.migrated import MigratedDatabase
from support.world import World

SECRET = "s" * 32
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK = b"List-Unsubscribe=One-Click"


@dataclass(frozen=True, slots=True)
class Scene:
    """Somebody with a link."""

    http: httpx2.AsyncClient
    world: World
    link: str

    async def chosen(self) -> list[dict[str, Any]]:
        rows = await self.world.pool.fetch("SELECT document FROM carillon.preferences")
        return [row["document"] for row in rows]

    async def click(self, content: bytes = ONE_CLICK, *, link: str | None = None) -> httpx2.Response:
        return await self.http.post(link or self.link, content=content, headers=FORM)


def link_to(tenant: str, number: int, secret: str = SECRET) -> str:
    mailing = MailingOf(tenant, number, Channel.EMAIL, "tickets", "ticket.changed")
    return f"/v1/unsubscribe/{sign_mailing(mailing, secret.encode())}"


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api"), unsubscribe_secret=SECRET) as api:
        producer = await make_producer(api, owner)
        world = World(owner, producer.tenant_id, producer.tenant)
        (number,) = await world.add_people(1)
        yield Scene(api.http, world, link_to("acme", number))
    await owner.close()


async def test_reading_shows_a_page_with_a_button_and_changes_nothing(scene: Scene) -> None:
    page = await scene.http.get(scene.link)
    head = await scene.http.head(scene.link)
    assert (page.status_code, head.status_code, head.content) == (200, 200, b"")
    assert page.headers["content-type"].startswith("text/html")
    assert "acme (tickets)" in page.text
    assert '<form method="post">' in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert await scene.chosen() == []


async def test_one_click_opts_out_of_the_category_at_once_and_twice_is_once(scene: Scene) -> None:
    for _ in range(2):
        assert (await scene.click()).status_code == 200
        assert await scene.chosen() == [{"categories": {"tickets": {"email": False}}}]


async def test_the_page_s_other_button_stops_all_that_is_not_mandatory(scene: Scene) -> None:
    reply = await scene.click(b"scope=all")
    assert "unsubscribed" in reply.text
    assert await scene.chosen() == [{"all": {"email": False}}]


async def test_leaving_a_digest_of_many_types_is_leaving_all_mail(scene: Scene) -> None:
    mailing = MailingOf("acme", scene.world.people[0], Channel.EMAIL, "digest", "carillon.digest")
    link = f"/v1/unsubscribe/{sign_mailing(mailing, SECRET.encode())}"
    page = (await scene.http.get(link)).text
    assert 'value="all"' in page
    assert 'value="category"' not in page
    assert (await scene.click(link=link)).status_code == 200
    assert await scene.chosen() == [{"all": {"email": False}}]


async def test_a_multipart_one_click_is_one_too(scene: Scene) -> None:
    reply = await scene.http.post(scene.link, files={"List-Unsubscribe": (None, "One-Click")})
    assert reply.status_code == 200
    assert await scene.chosen() == [{"categories": {"tickets": {"email": False}}}]


async def test_the_page_speaks_the_person_s_language(scene: Scene) -> None:
    await scene.world.pool.execute("UPDATE carillon.subscribers SET locale = 'mn-MN'")
    page = await scene.http.get(scene.link)
    assert '<html lang="mn">' in page.text
    assert "Захиалга цуцлах" in page.text


async def test_another_s_link_and_one_of_somebody_who_is_gone_do_nothing(scene: Scene) -> None:
    number = scene.world.people[0]
    for link in (link_to("acme", number, "t" * 32), link_to("other", number), link_to("acme", 999)):
        assert (await scene.http.get(link)).status_code == 404
        assert (await scene.click(link=link)).status_code == 404
    await scene.world.pool.execute("UPDATE carillon.subscribers SET registered = false")
    assert (await scene.click()).status_code == 404
    assert (await scene.click(b"x" * 3_000)).status_code == 413
    assert await scene.chosen() == []
