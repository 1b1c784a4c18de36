"""What a worker reads for a digest, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from carillon_shared.clock import SystemClock
from carillon_shared.content.builtin import DIGEST, builtin_templates
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.world import World, make_world


@pytest.fixture
async def world(migrated: MigratedDatabase) -> AsyncIterator[World]:
    pool = await migrated.pool()
    made = await make_world(pool)
    await pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, retry)
        VALUES ($1, 'ticket.changed', '{email}', '{"email": {"max_attempts": 3}}')""",
        made.tenant_id,
    )
    await pool.execute(
        """INSERT INTO carillon.templates (tenant_id, event_type, channel, locale, version, content)
        VALUES ($1, 'ticket.changed', 'email', 'en', 1, '{"subject": "Tickets"}')""",
        made.tenant_id,
    )
    yield made
    await pool.close()


async def _load(migrated: MigratedDatabase, world: World, data: dict[str, Any]) -> Any:
    event = await world.add_event(type_name=DIGEST, data=data)
    pool: Pool = await migrated.pool("carillon_email_worker")
    catalogue = Catalogue(pool, channel=Channel.EMAIL, clock=SystemClock())
    found: dict[UUID, Any] = await catalogue.load([event])
    await pool.close()
    return found[event]


async def test_a_digest_of_one_type_is_written_and_retried_as_that_type(
    world: World, migrated: MigratedDatabase
) -> None:
    work = await _load(
        migrated, world, {"kind": "type", "type": "ticket.changed", "types": ["ticket.changed"]}
    )
    assert [content["subject"] for content in work.templates.values()] == ["Tickets"]
    assert work.policy.max_attempts == 3
    assert work.item_templates is None


async def test_a_digest_of_several_brings_the_templates_of_its_items(
    world: World, migrated: MigratedDatabase
) -> None:
    work = await _load(migrated, world, {"kind": "quiet_hours", "types": ["message", "ticket.changed"]})
    assert work.templates == builtin_templates(DIGEST, Channel.EMAIL)
    assert set(work.item_templates) == {"message", "ticket.changed"}
    assert work.item_templates["ticket.changed"]["en"]["subject"] == "Tickets"
