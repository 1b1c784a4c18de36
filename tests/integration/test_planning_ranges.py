"""Large audiences on a real PostgreSQL: every range once, whatever happens meanwhile."""

import asyncio
from typing import Any

from carillon_dispatcher.planning.rows import RangeKey, Span, Verdict
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.planning import Planning, planning_in

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)


async def test_ranges_cover_the_audience_exactly_once(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=103, range_size=10) as planning:
        await planning.owner.execute(
            """INSERT INTO carillon.memberships (tenant_id, kind, name, subscriber)
            SELECT tenant_id, k::carillon.membership_kind, k || (number % 3), number
            FROM carillon.subscribers, unnest('{role,topic}'::text[]) AS k"""
        )
        audience = {
            "roles": ["role0", "role1"],
            "topics": ["topic0"],
            "users": ["u-2", "stranger"],
            "exclude": ["u-5"],
        }
        event = await planning.add_event(audience, channels=_ALL)
        assert await planning.plan(event) == [Verdict.LARGE]
        keys = [key for key, _ in await planning.store.cut(event)]
        whole = await _rows_of_whole(planning, audience)
        assert len(keys) == -(-len(whole) // 10)
        seen: set[tuple[int, str]] = set()
        for key in keys:
            assert await planning.store.plan_range(key) == (Verdict.PLANNED, await _span(planning, key))
            rows = await planning.rows(event)
            assert len({row["subscriber"] for row in rows}) - len({number for number, _ in seen}) <= 10
            seen = {(row["subscriber"], row["channel"]) for row in rows}
        assert {number for number, _ in seen} == whole
        assert len(await planning.rows(event)) == len(whole) * 3
        assert await planning.store.plan_range(keys[0]) == (Verdict.PLANNED, await _span(planning, keys[0]))
        assert len(await planning.rows(event)) == len(whole) * 3


async def _rows_of_whole(planning: Planning, audience: dict[str, Any]) -> set[int]:
    """Plan the same audience in one piece and return its subscribers."""
    event = await planning.add_event(audience)
    store = PlanStore(planning.dispatcher, range_size=10_000)
    assert await store.plan_events([event]) == {event: Verdict.PLANNED}
    return {row["subscriber"] for row in await planning.rows(event)}


async def _span(planning: Planning, key: RangeKey) -> Span:
    row = await planning.owner.fetchrow(
        "SELECT lo, hi FROM carillon.fanout_ranges WHERE event_id = $1 AND n = $2", key.event_id, key.n
    )
    assert row is not None
    return Span(key.event_id, row["lo"], row["hi"])


async def test_an_event_is_dispatched_with_its_last_range(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=25, range_size=10) as planning:
        event = await planning.add_event({"everyone": True})
        assert await planning.plan(event) == [Verdict.LARGE]
        keys = [key for key, _ in await planning.store.cut(event)]
        await planning.store.mark_ranges_sent(keys)
        assert await planning.store.cut(event) == []
        assert await planning.plan(event) == [Verdict.RANGES]
        for key in keys[:-1]:
            await planning.store.plan_range(key)
        await planning.store.mark_ranges_published(
            keys
        )  # the last one is not planned, so not published either
        assert (await planning.event(event))["status"] == "dispatching"
        await planning.store.plan_range(keys[-1])
        await planning.store.mark_ranges_published(keys[-1:])
        assert (await planning.event(event))["status"] == "dispatched"
        assert await planning.plan(event) == [Verdict.PUBLISHED]
        assert (await planning.store.plan_range(keys[0]))[0] is Verdict.PUBLISHED


async def test_two_planners_of_one_range_plan_it_once(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=200, range_size=100) as planning:
        event = await planning.add_event({"everyone": True}, channels=_ALL)
        (first, _), (second, _) = await planning.store.cut(event)
        await asyncio.gather(
            *(planning.store.plan_range(key) for key in (first, second, first, second)),
        )
        assert await planning.statuses(event) == {"queued": 600}


async def test_a_range_of_a_cancelled_or_late_event_is_not_planned(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=20, range_size=10) as planning:
        event = await planning.add_event({"everyone": True})
        keys = [key for key, _ in await planning.store.cut(event)]
        await planning.owner.execute("UPDATE carillon.events SET expires_at = now() - interval '1 s'")
        assert (await planning.store.plan_range(keys[0]))[0] is Verdict.EXPIRED
        await planning.owner.execute("UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()")
        assert (await planning.store.plan_range(keys[0]))[0] is Verdict.STOPPED
        assert (await planning.store.plan_range(RangeKey(event, 99)))[0] is Verdict.MISSING
        assert await planning.rows(event) == []


async def test_a_large_event_without_anybody_is_done_at_once(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=3, range_size=1) as planning:
        event = await planning.add_event({"users": []})
        assert await planning.store.cut(event) == []
        await planning.store.finish_fanout([event])
        assert (await planning.event(event))["status"] == "dispatched"
