"""The schema agrees with the code that uses it."""

from enum import StrEnum
from uuid import RFC_4122, UUID

import pytest
from carillon_shared.db.migrate import is_current, migrate
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus, EventStatus, HoldReason, Reason, ReceiptState
from carillon_shared.ids import accepted_at, delivery_id, delivery_id_range, parts_of
from support.migrated import MigratedDatabase


@pytest.mark.parametrize(
    ("type_name", "enum"),
    [
        ("channel", Channel),
        ("lane", Lane),
        ("event_status", EventStatus),
        ("delivery_status", DeliveryStatus),
        ("hold_reason", HoldReason),
        ("reason", Reason),
        ("receipt_state", ReceiptState),
    ],
)
async def test_every_closed_list_is_the_same_in_both(
    migrated: MigratedDatabase, type_name: str, enum: type[StrEnum]
) -> None:
    pool = await migrated.pool()
    rows = await pool.fetch(f"SELECT unnest(enum_range(NULL::carillon.{type_name}))::text AS value")
    assert {row["value"] for row in rows} == {member.value for member in enum}
    await pool.close()


async def test_delivery_ids_are_computed_alike_by_python_and_sql(migrated: MigratedDatabase) -> None:
    pool = await migrated.pool()
    event_id = await pool.fetchval("SELECT carillon.new_event_id(now())")
    event = UUID(str(event_id))
    for number in (1, 77, 2**32 - 1):
        for channel in Channel:
            from_sql = await pool.fetchval(
                "SELECT carillon.delivery_id(carillon.delivery_prefix($1), $2, $3::text::carillon.channel)",
                event,
                number,
                channel.value,
            )
            from_python = delivery_id(event, number, channel)
            low, high = delivery_id_range(event)
            assert str(from_sql) == str(from_python)
            assert low <= from_python <= high
            assert (parts_of(from_python).subscriber_number, parts_of(from_python).channel) == (
                number,
                channel,
            )
            assert accepted_at(from_python) == accepted_at(event)
            assert from_python.version == 8
    assert event.version == 7
    await pool.close()


async def test_what_was_accepted_later_sorts_later(migrated: MigratedDatabase) -> None:
    pool = await migrated.pool()
    ids = [
        UUID(str(await pool.fetchval("SELECT carillon.new_event_id(clock_timestamp())"))) for _ in range(50)
    ]
    assert ids == sorted(ids)
    assert {identifier.variant for identifier in ids} == {RFC_4122}
    await pool.close()


async def test_migrating_twice_changes_nothing(migrated: MigratedDatabase) -> None:
    await migrate(migrated.url())
    assert await is_current(migrated.url())
