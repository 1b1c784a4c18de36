from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_shared.domain.channels import Channel
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.world import World

NOW = datetime.now(UTC).replace(microsecond=0)
PATH = "/v1/admin/dead-letters"
_DEAD_LETTER = """
    INSERT INTO carillon.dead_letters (
        delivery_id, tenant_id, channel, event_type, reason, provider, code, error, dead_at, attempt)
    VALUES ($1, $2, $3::text::carillon.channel, $4, $5::text::carillon.reason, $6, $7, $8, $9, 2)
"""
_ATTEMPT = """
    INSERT INTO carillon.attempts (
        delivery_id, number, tenant_id, started_at, ended_at, outcome, provider, code, error)
    VALUES ($1, $2, $3, $4, $4, 'retry', 'smtp', '451', 'try later')
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """Two tenants, and the first one's dead letters."""

    operator: Producer
    stranger: Producer
    reader: Producer
    world: World

    async def bury(self, *, age: timedelta, channel: Channel = Channel.EMAIL, **columns: Any) -> str:
        """Store a dead letter of this age with two attempts; returns its id."""
        event = await self.world.add_event(channels=[channel])
        (delivery,) = await self.world.add_deliveries(event, self.world.people[:1], channel)
        values = {
            "event_type": "message",
            "reason": "retries_exhausted",
            "provider": "smtp",
            "code": "451",
            "error": "try later",
        } | columns
        await self._bury(delivery, channel, NOW - age, values)
        return str(delivery)

    async def listed(self, **query: Any) -> list[str]:
        reply = await self.operator.get(PATH, params=query)
        assert reply.status_code == 200, reply.text
        return [row["id"] for row in reply.json()["data"]]

    async def _bury(
        self, delivery: UUID, channel: Channel, dead_at: datetime, values: dict[str, Any]
    ) -> None:
        names = ("event_type", "reason", "provider", "code", "error")
        await self.world.pool.execute(
            _DEAD_LETTER,
            delivery,
            self.world.tenant_id,
            channel.value,
            *(values[name] for name in names),
            dead_at,
        )
        await self.world.pool.executemany(
            _ATTEMPT, [(delivery, number, self.world.tenant_id, dead_at) for number in (1, 2)]
        )


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool("carillon_owner", max_size=3)
    async with open_api(migrated.url("carillon_api")) as api:
        operator = await make_producer(api, owner, "acme", scopes=("operator",))
        world = World(owner, operator.tenant_id, "acme")
        await world.add_people(1)
        yield Scene(
            operator,
            await make_producer(api, owner, "other", scopes=("operator",)),
            await make_producer(api, owner, "acme", scopes=("events:read",)),
            world,
        )
    await owner.close()


async def test_dead_letters_are_listed_newest_first_with_their_attempts(scene: Scene) -> None:
    older = await scene.bury(age=timedelta(hours=2))
    newer = await scene.bury(age=timedelta(hours=1), error="no such mailbox")
    rows = (await scene.operator.get(PATH)).json()["data"]
    assert [row["id"] for row in rows] == [newer, older]
    assert rows[0]["error"] == "no such mailbox"
    assert rows[0]["subscriber"] == "u-1"
    assert [attempt["number"] for attempt in rows[0]["attempts"]] == [1, 2]
    age = datetime.now(UTC) - datetime.fromisoformat(rows[0]["dead_at"])
    assert rows[0]["age_seconds"] == pytest.approx(age.total_seconds(), abs=30)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"channel": "whatsapp"}, {"phone"}),
        ({"event_type": "report.ready"}, {"report"}),
        ({"reason": "template_error"}, {"phone"}),
        ({"provider": "cloud_api"}, {"phone"}),
        ({"since": (NOW - timedelta(hours=2)).isoformat()}, {"phone", "report"}),
        ({"until": (NOW - timedelta(hours=2)).isoformat()}, {"plain"}),
        ({"channel": "email", "event_type": "nope"}, set()),
    ],
)
async def test_a_filter_lists_only_what_matches(
    scene: Scene, query: dict[str, str], expected: set[str]
) -> None:
    buried = {
        "phone": await scene.bury(
            age=timedelta(hours=1), channel=Channel.WHATSAPP, provider="cloud_api", reason="template_error"
        ),
        "report": await scene.bury(age=timedelta(hours=2), event_type="report.ready"),
        "plain": await scene.bury(age=timedelta(hours=3)),
    }
    assert set(await scene.listed(**query)) == {buried[name] for name in expected}


async def test_pages_go_on_where_the_last_one_ended_also_among_equal_times(scene: Scene) -> None:
    buried = {await scene.bury(age=timedelta(hours=1)) for _ in range(5)}
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await scene.operator.get(PATH, params=query)).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == buried


async def test_one_dead_letter_is_shown_by_its_deliverys_id(scene: Scene) -> None:
    delivery = await scene.bury(age=timedelta(hours=1))
    found = await scene.operator.get(f"{PATH}/{delivery}")
    assert found.status_code == 200
    assert (found.json()["id"], found.json()["reason"]) == (delivery, "retries_exhausted")


async def test_a_dead_letter_tells_what_it_would_say_with_addresses_masked(scene: Scene) -> None:
    delivery = await scene.bury(age=timedelta(hours=1))
    await scene.world.pool.execute(
        "UPDATE carillon.events SET data = $1",
        {"title": "For ada@example.org", "body": "Call +1 202 555 0147."},
    )
    shown = (await scene.operator.get(f"{PATH}/{delivery}")).json()["preview"]
    assert shown["error"] is None
    assert shown["rendered"]["subject"] == "For a***@e***.org"
    assert "+12***47" in shown["rendered"]["text"]
    assert "0147" not in str(shown)
    assert "preview" not in (await scene.operator.get(PATH)).json()["data"][0]


async def test_what_it_would_say_has_what_was_put_right(scene: Scene) -> None:
    delivery = await scene.bury(age=timedelta(hours=1))
    await scene.world.pool.execute(
        "INSERT INTO carillon.corrections (delivery_id, tenant_id, data) VALUES ($1, $2, $3)",
        UUID(delivery),
        scene.world.tenant_id,
        {"title": "As it should be"},
    )
    shown = (await scene.operator.get(f"{PATH}/{delivery}")).json()["preview"]
    assert (shown["rendered"]["subject"], shown["rendered"]["text"]) == ("As it should be", "There")


async def test_a_dead_letter_that_cannot_be_rendered_says_why(scene: Scene) -> None:
    delivery = await scene.bury(age=timedelta(hours=1))
    await scene.world.pool.execute("UPDATE carillon.events SET data = '{}'")
    shown = (await scene.operator.get(f"{PATH}/{delivery}")).json()["preview"]
    assert shown["rendered"] is None
    assert "title" in shown["error"]


@pytest.mark.parametrize("name", ["01975bca-0000-7000-8000-000000000000", "no-id"])
async def test_what_is_no_dead_letter_is_404(scene: Scene, name: str) -> None:
    assert (await scene.operator.get(f"{PATH}/{name}")).status_code == 404


async def test_another_tenants_dead_letters_do_not_exist(scene: Scene) -> None:
    delivery = await scene.bury(age=timedelta(hours=1))
    assert (await scene.stranger.get(PATH)).json()["data"] == []
    assert (await scene.stranger.get(f"{PATH}/{delivery}")).status_code == 404


async def test_only_operators_may_look(scene: Scene) -> None:
    assert (await scene.reader.get(PATH)).status_code == 403
    assert (await scene.reader.get(f"{PATH}/{uuid4()}")).status_code == 403
    assert (await scene.operator.http.get(PATH)).status_code == 401


@pytest.mark.parametrize("cursor", ["x", "bm8gdGltZQ", "MjAyNi0xMS0yMVQxMDowMDowMCBuby1pZA"])
async def test_a_cursor_we_did_not_make_is_422(scene: Scene, cursor: str) -> None:
    assert (await scene.operator.get(PATH, params={"cursor": cursor})).status_code == 422
