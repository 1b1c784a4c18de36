"""What a worker keeps of event types and templates, and for how long."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from carillon_shared.clock import SystemClock
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.world import World, make_world


@pytest.fixture
async def pool(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


async def _template(world: World, version: int, subject: str) -> None:
    content = {"subject": subject, "text": "Use it soon."}
    await world.pool.execute(
        """INSERT INTO carillon.templates (tenant_id, event_type, channel, locale, version, content)
        VALUES ($1, 'code.sent', 'email', 'en', $2, $3)""",
        world.tenant_id,
        version,
        content,
    )


async def test_what_is_tried_again_uses_the_template_of_now(pool: Pool) -> None:
    world = await make_world(pool)
    await pool.execute(
        "INSERT INTO carillon.event_types (tenant_id, name, channels) VALUES ($1, 'code.sent', '{email}')",
        world.tenant_id,
    )
    await _template(world, 1, "broken")
    event = await world.add_event(type_name="code.sent")
    catalogue = Catalogue(pool, channel=Channel.EMAIL, clock=SystemClock())

    async def subject(**options: Any) -> Any:
        return (await catalogue.load({event}, **options))[event].templates["en"]["subject"]

    assert await subject() == "broken"
    await _template(world, 2, "mended")
    assert await subject() == "broken"  # kept: a burst of new events reads it once
    assert await subject(again={event}) == "mended"
    assert await subject() == "mended"
