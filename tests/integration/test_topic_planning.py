"""Topics within topics, and mutes, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.planning import TYPE, Planning, RecordingPublisher, planning_in
from support.quiet_people import end_quiet_hours, give_quiet_hours

_ABOUT = "ticket:42"


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=4) as made:
        yield made


async def _nest(planning: Planning, *pairs: tuple[str, str]) -> None:
    for topic, parent in pairs:
        await planning.owner.execute(
            "INSERT INTO carillon.topic_parents (tenant_id, topic, parent) VALUES ($1, $2, $3)",
            planning.world.tenant_id,
            topic,
            parent,
        )


async def _follow(planning: Planning, **followers: str) -> None:
    for person, topic in followers.items():
        await planning.owner.execute(
            """INSERT INTO carillon.memberships (tenant_id, kind, name, subscriber)
            SELECT tenant_id, 'topic', $2, number FROM carillon.subscribers WHERE id = $1""",
            person.replace("_", "-"),
            topic,
        )


async def _mute(planning: Planning, person: str, *topics: str, **more: Any) -> None:
    await planning.owner.execute(
        """INSERT INTO carillon.preferences (tenant_id, subscriber, document)
        SELECT tenant_id, number, $2 FROM carillon.subscribers WHERE id = $1
        ON CONFLICT (tenant_id, subscriber)
        DO UPDATE SET document = preferences.document || excluded.document""",
        person,
        {"muted": list(topics)} | more,
    )


async def _send(planning: Planning, *channels: Channel, **audience: Any) -> UUID:
    event = await planning.add_event(audience, channels=channels or (Channel.INAPP,))
    await planning.plan(event)
    return event


async def _told(planning: Planning, **audience: Any) -> list[str]:
    decisions = await planning.decisions(await _send(planning, **audience))
    return sorted(person for (person, _), reason in decisions.items() if reason is None)


async def _reasons(planning: Planning, event: UUID) -> dict[str, str | None]:
    return {person: reason for (person, _), reason in (await planning.decisions(event)).items()}


async def test_who_follows_a_project_hears_of_its_tickets(planning: Planning) -> None:
    await _nest(planning, (_ABOUT, "project:7"), ("project:7", "customer:1"))
    await _follow(planning, u_1=_ABOUT, u_2="project:7", u_3="customer:1", u_4="ticket:43")
    assert await _told(planning, topics=[_ABOUT]) == ["u-1", "u-2", "u-3"]


async def test_who_follows_a_ticket_does_not_hear_of_its_project(planning: Planning) -> None:
    await _nest(planning, (_ABOUT, "project:7"))
    await _follow(planning, u_1=_ABOUT, u_2="project:7")
    assert await _told(planning, topics=["project:7"]) == ["u-2"]


async def test_whoever_is_reached_in_many_ways_is_told_once(planning: Planning) -> None:
    await _nest(planning, (_ABOUT, "project:7"), (_ABOUT, "customer:1"))
    for topic in (_ABOUT, "project:7", "customer:1"):
        await _follow(planning, u_1=topic)
    audience = {"topics": [_ABOUT, "project:7"], "users": ["u-1"], "everyone": True}
    assert await _told(planning, **audience) == ["u-1", "u-2", "u-3", "u-4"]


async def test_topics_in_a_circle_are_all_heard_and_nothing_hangs(planning: Planning) -> None:
    await _nest(planning, ("a", "b"), ("b", "c"), ("c", "a"))
    await _follow(planning, u_1="a", u_2="b", u_3="c")
    assert await _told(planning, topics=["b"]) == ["u-1", "u-2", "u-3"]


async def test_topics_of_another_tenant_are_not_followed(planning: Planning) -> None:
    other = await planning.owner.fetchval(
        "INSERT INTO carillon.tenants (slug, name) VALUES ('globex', 'Globex') RETURNING id"
    )
    await planning.owner.execute(
        "INSERT INTO carillon.topic_parents (tenant_id, topic, parent) VALUES ($1, $2, 'p')", other, _ABOUT
    )
    await _follow(planning, u_1="p")
    assert await _told(planning, topics=[_ABOUT]) == []


async def test_a_nested_audience_is_bounded_and_cut_as_it_is_planned(planning: Planning) -> None:
    await _nest(planning, (_ABOUT, "project:7"))
    await _follow(planning, u_1="project:7", u_2="project:7", u_3=_ABOUT)
    bound = "SELECT carillon.audience_bound($1, $2, 100)"
    assert await planning.dispatcher.fetchval(bound, planning.world.tenant_id, {"topics": [_ABOUT]}) == 3
    event = await planning.add_event({"topics": [_ABOUT]})
    assert await planning.dispatcher.fetchval("SELECT carillon.cut_ranges($1, 2)", event) == 2


@pytest.mark.parametrize("muted", [_ABOUT, "project:7"])
async def test_a_muted_topic_is_silent_with_all_that_lies_in_it(planning: Planning, muted: str) -> None:
    await _nest(planning, (_ABOUT, "project:7"))
    await _follow(planning, u_1=_ABOUT, u_2=_ABOUT)
    await _mute(planning, "u-1", muted)
    event = await _send(planning, topics=[_ABOUT], users=["u-3"])
    assert await _reasons(planning, event) == {"u-1": "muted", "u-2": None, "u-3": None}


async def test_a_mute_holds_however_the_event_would_reach_one(planning: Planning) -> None:
    await _mute(planning, "u-1", _ABOUT)
    assert await _told(planning, users=["u-1", "u-2"], topics=[_ABOUT]) == ["u-2"]
    assert await _told(planning, users=["u-1", "u-2"], topics=["ticket:43"]) == ["u-1", "u-2"]
    assert await _told(planning, users=["u-1", "u-2"]) == ["u-1", "u-2"]


async def test_muting_what_lies_in_a_topic_does_not_mute_the_topic(planning: Planning) -> None:
    await _nest(planning, (_ABOUT, "project:7"))
    await _follow(planning, u_1="project:7")
    await _mute(planning, "u-1", _ABOUT)
    assert await _told(planning, topics=["project:7"]) == ["u-1"]
    assert await _told(planning, topics=[_ABOUT]) == []


async def test_what_is_mandatory_passes_a_mute(planning: Planning) -> None:
    await planning.add_type(mandatory=True)
    await _mute(planning, "u-1", _ABOUT)
    assert await _told(planning, users=["u-1"], topics=[_ABOUT]) == ["u-1"]


async def test_a_mute_is_asked_before_preferences(planning: Planning) -> None:
    await _mute(planning, "u-1", _ABOUT, all={"inapp": False})
    event = await _send(planning, users=["u-1"], topics=[_ABOUT])
    assert await _reasons(planning, event) == {"u-1": "muted"}


@pytest.fixture
async def worker(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Pool]:
    pool = await migrated.pool("carillon_email_worker")
    yield pool
    await pool.close()


async def test_a_mute_holds_at_the_last_moment(planning: Planning, worker: asyncpg.Pool) -> None:
    event = await _send(planning, Channel.EMAIL, users=["u-1"], topics=[_ABOUT])
    await _mute(planning, "u-1", _ABOUT)
    (row,) = await planning.rows(event)
    lease = "SELECT verdict FROM carillon.lease($1, '{1}', $2, $2, 7, 'test', 30)"
    assert await worker.fetchval(lease, [row["id"]], row["id"]) == "skipped"
    (row,) = await planning.rows(event)
    assert (row["status"], row["reason"]) == ("skipped", "muted")


async def test_a_mute_holds_in_the_feed_at_the_last_moment(
    planning: Planning, migrated: MigratedDatabase
) -> None:
    event = await _send(planning, users=["u-1"], topics=[_ABOUT])
    await _mute(planning, "u-1", _ABOUT)
    (row,) = await planning.rows(event)
    pool = await migrated.pool("carillon_inapp_worker")
    write = "SELECT verdict FROM carillon.write_feed($1, '{1}', '{t}', '{b}', '{NULL}', $2, $2, false)"
    assert await pool.fetchval(write, [row["id"]], row["id"]) == "skipped"
    await pool.close()
    (row,) = await planning.rows(event)
    assert row["reason"] == "muted"


async def test_what_waited_for_the_morning_is_dropped_when_it_was_muted_in_the_night(
    planning: Planning,
) -> None:
    await planning.add_type(TYPE)
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, Channel.EMAIL, users=["u-1"], topics=[_ABOUT])
    await _mute(planning, "u-1", _ABOUT)
    await end_quiet_hours(planning)
    holds = DueHolds(planning.dispatcher, RecordingPublisher(), batch=10)
    assert await holds.release() == 0
    (row,) = await planning.rows(event)
    assert (row["status"], row["reason"]) == ("skipped", "muted")


async def test_an_operator_does_not_send_again_what_was_muted_since(planning: Planning) -> None:
    event = await _send(planning, Channel.EMAIL, users=["u-1"], topics=[_ABOUT])
    await planning.owner.execute("UPDATE carillon.deliveries SET status = 'dead', reason = 'poison'")
    await _mute(planning, "u-1", _ABOUT)
    (row,) = await planning.rows(event)
    skips = "SELECT skip FROM carillon.replay_skips($1, $2, $2, NULL)"
    assert await planning.dispatcher.fetchval(skips, [row["id"]], row["id"]) == "muted"
