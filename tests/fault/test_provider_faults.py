"""Providers that fail for everybody: the breaker opens, nothing circulates, all is delivered in the end."""

import asyncio
from typing import Any

import pytest
from support.audience import address_of, register_many
from support.faults.provider_faults import a_closed_port, breaker_is, rules, with_variables
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

PEOPLE = 60
LOOK_SECONDS = 3.0
# At most ten calls in a row fail until the breaker opens, and as many more may be open by then.
MOST_BEFORE_OPEN = 40
PROBES = 3


async def announce(platform: Platform, channel: str) -> tuple[Tenant, str]:
    """Send one event to sixty people over a channel."""
    tenant = await platform.new_tenant()
    await register_many(platform, tenant, PEOPLE, with_phone=True)
    content = {"title": "Hello", "body": "There"}
    event = await tenant.send(type="message", data=content, audience={"everyone": True}, channels=[channel])
    return tenant, event


async def attempts_of(platform: Platform, event: str) -> list[dict[str, Any]]:
    """Return every attempt at the deliveries of an event."""
    pool = await platform.database.pool(max_size=1)
    rows = await pool.fetch(
        "SELECT a.* FROM carillon.attempts a JOIN carillon.deliveries d ON d.id = a.delivery_id "
        "WHERE d.event_id = $1::uuid",
        event,
    )
    await pool.close()
    return [dict(row) for row in rows]


async def stands_still(platform: Platform, event: str) -> None:
    """Check that an open breaker lets nothing but probes through, and that no delivery is given up."""
    await asyncio.sleep(LOOK_SECONDS)  # what must not happen has no fact to wait for
    assert len(await attempts_of(platform, event)) <= MOST_BEFORE_OPEN + 2 * PROBES


async def all_sent(tenant: Tenant, event: str) -> None:
    """Wait until the event's deliveries are sent; an opening may last a while longer than the outage.

    Receipts may already have come for them.
    """

    async def look() -> Any:
        found = await tenant.call("GET", f"/v1/events/{event}")
        seen.clear()
        seen.update(found["progress"]["by_status"])
        return seen.keys() <= {"sent", "delivered", "read"} and sum(seen.values()) == PEOPLE

    seen: dict[str, int] = {}
    try:
        await eventually(look, seconds=90, what="every delivery to be sent")
    except AssertionError as error:
        raise AssertionError(f"{error}; states seen: {seen}") from None


async def each_got_one_mail(platform: Platform, tenant: Tenant) -> None:
    for person in range(1, PEOPLE + 1):
        assert len(await platform.mails_to(address_of(tenant, f"p-{person}"))) == 1


async def test_a_burst_of_server_errors_opens_the_breaker_and_all_is_sent_after_it(
    shared_ground: Platform,
) -> None:
    async with rules(shared_ground, {"fault": "server_error", "channel": "smtp"}):
        tenant, event = await announce(shared_ground, "email")
        await breaker_is(shared_ground, "email-worker", "smtp", "open")
        await stands_still(shared_ground, event)
    await all_sent(tenant, event)
    await breaker_is(shared_ground, "email-worker", "smtp", "closed")
    await each_got_one_mail(shared_ground, tenant)


@pytest.mark.extended
async def test_a_wrong_token_kills_no_delivery_and_the_right_one_sends_them(
    shared_ground: Platform,
) -> None:
    wrong = {"CARILLON_WHATSAPP_ACCESS_TOKEN": "wrong"}
    async with with_variables(shared_ground, "whatsapp-worker", **wrong):
        tenant, event = await announce(shared_ground, "whatsapp")
        await breaker_is(shared_ground, "whatsapp-worker", "cloud_api", "open")
        await stands_still(shared_ground, event)
    await all_sent(tenant, event)
    said = {row["code"] for row in await attempts_of(shared_ground, event) if row["outcome"] == "retry"}
    assert said <= {"whatsapp_190", "whatsapp_104"}


async def test_a_second_server_takes_over_while_the_first_is_away(shared_ground: Platform) -> None:
    ports = shared_ground.addresses.ports
    servers = {
        "CARILLON_EMAIL_SMTP_PORT": a_closed_port(),
        "CARILLON_EMAIL_FALLBACK_SMTP_HOST": "127.0.0.1",
        "CARILLON_EMAIL_FALLBACK_SMTP_PORT": str(ports["mock_smtp"]),
    }
    async with with_variables(shared_ground, "email-worker", **servers):
        tenant, event = await announce(shared_ground, "email")
        await all_sent(tenant, event)
        await breaker_is(shared_ground, "email-worker", "smtp", "open")
        await breaker_is(shared_ground, "email-worker", "smtp_fallback", "closed")
    made = await attempts_of(shared_ground, event)
    assert {(row["provider"], row["outcome"], row["number"]) for row in made} == {
        ("smtp_fallback", "sent", 1)
    }
    assert "stood_in" in {row["code"] for row in made}
    await each_got_one_mail(shared_ground, tenant)


@pytest.mark.extended
async def test_with_both_servers_away_nothing_is_given_up(shared_ground: Platform) -> None:
    servers = {
        "CARILLON_EMAIL_SMTP_PORT": a_closed_port(),
        "CARILLON_EMAIL_FALLBACK_SMTP_HOST": "127.0.0.1",
        "CARILLON_EMAIL_FALLBACK_SMTP_PORT": a_closed_port(),
    }
    async with with_variables(shared_ground, "email-worker", **servers):
        tenant, event = await announce(shared_ground, "email")
        await breaker_is(shared_ground, "email-worker", "smtp_fallback", "open")
        await stands_still(shared_ground, event)
    await all_sent(tenant, event)
    await each_got_one_mail(shared_ground, tenant)


@pytest.mark.extended
async def test_a_rate_limit_is_kept_and_lets_everything_through(shared_ground: Platform) -> None:
    rate = 10
    async with with_variables(shared_ground, "email-worker", CARILLON_EMAIL_RATE_PER_SECOND=str(rate)):
        tenant, event = await announce(shared_ground, "email")
        await all_sent(tenant, event)
    begun = sorted(row["started_at"] for row in await attempts_of(shared_ground, event))
    assert (begun[-1] - begun[0]).total_seconds() >= (PEOPLE - 2) / rate * 0.9
