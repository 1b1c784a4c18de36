from collections.abc import AsyncIterator
from typing import Any

import pytest
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveSignal
from support.live_api import Client, LiveApi, Tenant, make_key, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.sse import Sse, sse
from support.waiting import eventually


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        await made.add_people("u-7", "u-8")
        yield made


async def _ready(stream: Sse) -> None:
    assert (await stream.next()).event == "ready"


async def test_a_signal_reaches_a_person_and_a_topic_and_nobody_else(api: LiveApi, tenant: Tenant) -> None:
    service = tenant.client(api)
    seven, eight = await service.person("u-7"), await service.person("u-8")
    await service.call("PUT", "/v1/topics/job:17/subscribers/u-8", expect=204)
    async with (
        sse(api.url, token=seven.credential) as one,
        sse(api.url, "/v1/inbox/stream?topics=job:17", token=eight.credential) as two,
    ):
        await _ready(one)
        await _ready(two)
        for target in ({"users": ["u-7"]}, {"topics": ["job:17"]}):
            await service.call(
                "POST", "/v1/signals", json={**target, "name": "p", "data": target}, expect=202
            )
        mine, topical = await one.next(), await two.next()
    assert (mine.event, mine.id, mine.data) == ("signal", None, {"name": "p", "data": {"users": ["u-7"]}})
    assert topical.data == {"name": "p", "data": {"topics": ["job:17"]}, "topic": "job:17"}


async def test_who_comes_later_sees_how_far_a_job_is(api: LiveApi, tenant: Tenant) -> None:
    service = tenant.client(api)
    seven = await service.person("u-7", topics=["job:17"])
    stream_of_job = "/v1/inbox/stream?topics=job:17"
    async with sse(api.url, stream_of_job, token=seven.credential) as first:
        await _ready(first)
        for name, value in (("progress", 10), ("log", "begun"), ("progress", 40)):
            signal = {"topics": ["job:17"], "name": name, "data": value}
            await service.call("POST", "/v1/signals", json=signal, expect=202)
        while (await first.next()).data["data"] != 40:
            pass
    await tenant.add_item("u-7", announce=False)
    async with sse(api.url, stream_of_job, token=seven.credential, last_event_id="0") as later:
        await _ready(later)
        frames = await later.take(3)
    assert [frame.event for frame in frames] == ["notification", "signal", "signal"]
    assert sorted(str(frame.data["data"]) for frame in frames[1:]) == ["40", "begun"]
    async with sse(api.url, token=seven.credential) as without:
        await _ready(without)
        await tenant.add_item("u-7")
        assert (await without.next()).event == "notification"


async def test_a_topic_that_one_does_not_follow_is_refused(api: LiveApi, tenant: Tenant) -> None:
    person = await tenant.client(api).person("u-7")
    async with sse(api.url, "/v1/inbox/stream?topics=job:17", token=person.credential) as stream:
        assert stream.status == 403


async def test_many_signals_of_one_name_become_the_newest(api: LiveApi, tenant: Tenant) -> None:
    person = await tenant.client(api).person("u-7")
    signals = [LiveSignal(tenant="acme", users=["u-7"], name="p", data=n) for n in range(500)]
    async with sse(api.url, token=person.credential) as stream:
        await _ready(stream)
        outgoing = [live(signal, message_id=str(n)) for n, signal in enumerate(signals)]
        assert set(await tenant.session.publisher.publish_many(outgoing)) == {None}
        seen = [(await stream.next()).data["data"]]
        while seen[-1] != 499:
            seen.append((await stream.next()).data["data"])
    assert seen == sorted(seen)
    assert len(seen) < 50  # ten a second, whatever the machine's speed: far fewer than were sent


async def test_signals_of_several_names_all_arrive(api: LiveApi, tenant: Tenant) -> None:
    person = await tenant.client(api).person("u-7")
    async with sse(api.url, token=person.credential) as stream:
        await _ready(stream)
        outgoing = [
            live(LiveSignal(tenant="acme", users=["u-7"], name=f"n{n}", data=n), message_id=str(n))
            for n in range(5)
        ]
        await tenant.session.publisher.publish_many(outgoing)
        assert [(await stream.next()).data["name"] for _ in range(5)] == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "p"},
        {"users": ["u-7"]},
        {"users": ["u-7"], "name": "two words"},
        {"users": ["u-7"], "name": "p", "data": "x" * 20_000},
        {"users": ["u-7"], "name": "p", "data": 10**30},
        {"users": ["u-7"], "name": "p", "colour": 1},
    ],
)
async def test_a_wrong_signal_is_refused(api: LiveApi, tenant: Tenant, body: dict[str, Any]) -> None:
    await tenant.client(api).call("POST", "/v1/signals", json=body, expect=422)


async def test_a_signal_needs_the_producers_scope(api: LiveApi, tenant: Tenant) -> None:
    reader = Client(api.url, await make_key(tenant.pool, tenant.id, "events:read"))
    await reader.call("POST", "/v1/signals", json={"users": ["u-7"], "name": "p"}, expect=403)


async def test_without_the_broker_signals_are_refused_and_changes_are_shown(
    migrated: MigratedDatabase, own_rabbitmq: RabbitmqServer
) -> None:
    url = own_rabbitmq.amqp_url
    async with running_api(migrated, url) as api, open_tenant(migrated, url, "globex") as tenant:
        await tenant.add_people("u-7")
        service = tenant.client(api)
        person = await service.person("u-7")
        async with sse(api.url, token=person.credential) as stream:
            await _ready(stream)
            own_rabbitmq.stop()
            body = {"users": ["u-7"], "name": "p"}

            async def refused() -> bool:
                reply = await service.call("POST", "/v1/signals", json=body, expect=None)
                return bool(reply.status_code == 503 and "retry-after" in reply.headers)

            await eventually(refused, seconds=20, what="signals to be refused")
            await tenant.add_item("u-7", announce=False)
            await person.call("POST", "/v1/inbox:read-all")
            assert [(await stream.next()).event for _ in range(2)] == ["notification", "update"]
            await tenant.add_item("u-7", title="while away", announce=False)
            own_rabbitmq.start()
            # The new queue is bound, and whatever was missed is looked up.
            assert (await stream.next(seconds=60)).data["item"]["title"] == "while away"
