"""Mail that comes back, and people who write stop: what that does to deliveries and addresses."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from carillon_api.receipts.replies import Reply, note_replies
from carillon_api.services import Services
from carillon_mock_providers.bounce_mails import bounce_mail
from carillon_mock_providers.mailbox import Bounce
from carillon_shared.domain.channels import Channel
from support.events_api import make_producer, open_api
from support.migrated import MigratedDatabase
from support.whatsapp_webhooks import APP_SECRET, post
from support.world import World, make_world

SECRET = "bounce-secret"
PATH = "/v1/receipts/email/acme"
PHONE = "+12025550001"


@dataclass(slots=True)
class Scene:
    """A tenant with two people, and the API that gets what comes back."""

    http: httpx2.AsyncClient
    services: Services
    world: World
    sent: list[UUID] = field(default_factory=list)

    async def send(self, status: str = "sent") -> UUID:
        event = await self.world.add_event()
        (delivery,) = await self.world.add_deliveries(event, self.world.people[:1], Channel.EMAIL)
        lease = "lease_token = 7" if status == "sending" else "provider_id = '4F1A', provider = 'smtp'"
        await self.world.pool.execute(
            f"""UPDATE carillon.deliveries
            SET status = $2::text::carillon.delivery_status, attempt = 1, {lease} WHERE id = $1""",
            delivery,
            status,
        )
        return delivery

    async def bounce(
        self, delivery: UUID, *, to: str = "u-1@example.org", path: str = PATH, secret: str = SECRET
    ) -> httpx2.Response:
        source = f"Message-ID: <{delivery}@carillon.test>\r\nTo: {to}\r\n\r\nbody".encode()
        body = bounce_mail(Bounce(1, "", to, "no-reply@carillon.test", 1_700_000_000), source)
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Carillon-Signature": f"sha256={digest}", "Content-Type": "message/rfc822"}
        return await self.http.post(path, content=body, headers=headers)

    async def status(self, delivery: UUID) -> tuple[str, str | None]:
        row = await self.world.pool.fetchrow(
            "SELECT status, reason FROM carillon.deliveries WHERE id = $1", delivery
        )
        assert row is not None
        return row["status"], row["reason"]

    async def suppressed(self) -> list[tuple[str, str, str]]:
        rows = await self.world.pool.fetch("SELECT * FROM carillon.suppressions ORDER BY shown")
        return [(row["channel"], row["shown"], row["reason"]) for row in rows]

    async def wrote(self, *replies: Reply, tenant_id: int | None = None) -> None:
        await note_replies(self.services.pool, replies, tenant_id=tenant_id)


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    settings: dict[str, Any] = {"api_bounce_secret": SECRET, "api_whatsapp_app_secret": APP_SECRET}
    async with open_api(migrated.url("carillon_api"), **settings) as api:
        producer = await make_producer(api, owner)
        world = World(owner, producer.tenant_id, producer.tenant)
        await world.add_people(2)
        yield Scene(api.http, api.services, world)
    await owner.close()


@pytest.mark.parametrize("tenant", ["acme", "-"])
async def test_what_was_sent_has_failed_and_its_address_is_suppressed(scene: Scene, tenant: str) -> None:
    delivery = await scene.send()
    for _ in range(2):  # servers repeat themselves
        assert (await scene.bounce(delivery, path=f"/v1/receipts/email/{tenant}")).status_code == 200
    assert await scene.status(delivery) == ("failed", "invalid_address")
    assert await scene.suppressed() == [("email", "u***@e***.org", "bounced")]
    assert await scene.world.pool.fetchval("SELECT count(*) FROM carillon.receipts") == 1


async def test_a_bounce_that_comes_before_the_settle_waits_for_it(scene: Scene) -> None:
    delivery = await scene.send("sending")
    assert (await scene.bounce(delivery)).status_code == 200
    assert await scene.status(delivery) == ("sending", None)
    await scene.world.pool.execute("UPDATE carillon.deliveries SET status = 'sent', provider_id = '4F1A'")
    await scene.world.pool.execute("SELECT carillon.apply_pending_receipts(10)")
    assert await scene.status(delivery) == ("failed", "invalid_address")


async def test_only_the_address_that_the_delivery_went_to_is_suppressed(scene: Scene) -> None:
    delivery = await scene.send()
    assert (await scene.bounce(delivery, to="u-2@example.org")).status_code == 200  # a forged one
    assert await scene.suppressed() == []
    await scene.world.pool.execute(
        "UPDATE carillon.subscribers SET email = 'new@example.org' WHERE id = 'u-1'"
    )
    await scene.bounce(await scene.send())
    assert await scene.suppressed() == []


async def test_another_tenant_s_delivery_is_left_alone(scene: Scene) -> None:
    await make_world(scene.world.pool, slug="other")
    delivery = await scene.send()
    assert (await scene.bounce(delivery, path="/v1/receipts/email/other")).status_code == 200
    assert await scene.status(delivery) == ("sent", None)
    assert await scene.suppressed() == []
    assert (await scene.bounce(delivery, path="/v1/receipts/email/nobody")).status_code == 404
    assert (await scene.bounce(delivery, secret="wrong")).status_code == 401


async def test_what_an_operator_suppressed_for_good_stays_so(scene: Scene) -> None:
    await scene.world.pool.execute(
        """INSERT INTO carillon.suppressions (tenant_id, target, channel, reason, shown)
        VALUES ($1, carillon.address_digest('u-1@example.org'), 'email', 'manual', 'x')""",
        scene.world.tenant_id,
    )
    await scene.bounce(await scene.send())
    assert await scene.suppressed() == [("email", "x", "manual")]


async def test_stop_suppresses_start_lifts_it_and_the_last_word_counts(scene: Scene) -> None:
    now = datetime.now(UTC)
    earlier = now - timedelta(minutes=1)
    await scene.wrote(Reply(PHONE, now, "stop"), Reply(PHONE, earlier, "start"))
    assert await scene.suppressed() == [("whatsapp", "+12***01", "stopped")]
    await scene.wrote(Reply(PHONE, now, "start"), Reply("+12025559999", now, "stop"))
    assert await scene.suppressed() == []
    await scene.world.pool.execute(
        """INSERT INTO carillon.suppressions (tenant_id, target, channel, reason, shown)
        VALUES ($1, carillon.address_digest($2), 'whatsapp', 'bounced', 'x')""",
        scene.world.tenant_id,
        PHONE,
    )
    await scene.wrote(Reply(PHONE, now, "start"))
    assert await scene.suppressed() == [("whatsapp", "x", "bounced")]


async def test_a_webhook_says_stop_to_every_tenant_that_has_the_phone(scene: Scene) -> None:
    await (await make_world(scene.world.pool, slug="other")).add_people(1)
    message = {
        "from": PHONE.lstrip("+"),
        "id": "wamid.1",
        "timestamp": str(int(datetime.now(UTC).timestamp())),
        "type": "text",
        "text": {"body": "Stop"},
    }
    document = {"entry": [{"changes": [{"value": {"messages": [message]}}]}]}
    reply = await post(scene.http, document, path="/v1/receipts/whatsapp/-")
    assert reply.status_code == 200
    assert len(await scene.suppressed()) == 2


async def test_a_worker_learns_when_the_person_wrote(scene: Scene, migrated: MigratedDatabase) -> None:
    at = datetime.now(UTC) - timedelta(hours=2)
    await scene.wrote(Reply(PHONE, at), Reply(PHONE, at - timedelta(hours=9)))
    event = await scene.world.add_event(channels=[Channel.WHATSAPP])
    ids = await scene.world.add_deliveries(event, scene.world.people, Channel.WHATSAPP)
    worker = await migrated.pool("carillon_whatsapp_worker")
    rows = await worker.fetch(
        "SELECT wrote_at FROM carillon.lease($1, '{1}', $2, $3, 7, 'test', 30) ORDER BY id",
        ids,
        ids[0],
        ids[-1],
    )
    await worker.close()
    assert [row["wrote_at"] for row in rows] == [at, None]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@example.org", "a***@e***.org"),
        ("+12025550147", "+12***47"),
        ("a@b", "***"),
        ("x", "***"),
        (None, None),
    ],
)
async def test_addresses_are_shown_masked(scene: Scene, address: str | None, shown: str | None) -> None:
    assert await scene.world.pool.fetchval("SELECT carillon.masked_address($1)", address) == shown
