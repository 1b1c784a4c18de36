"""What running services export is clean in Prometheus' eyes, and within the bounds that the page tells."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from carillon_local.platform import HOST
from carillon_shared.broker.declare import declare
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.metrics_page import ALL, Described, described_metrics
from support.migrated import MigratedDatabase
from support.platform import Platform, running_platform
from support.promtool import promtool

pytestmark = pytest.mark.needs("promtool")

PORTS = {
    "api": "metrics_api",
    "dispatcher": "metrics_dispatcher",
    "email-worker": "metrics_email",
    "whatsapp-worker": "metrics_whatsapp",
    "inapp-worker": "metrics_inapp",
}
TEMPLATES = {
    "email/en": {"subject": "Hello", "html": "<p>Hello</p>"},
    "inapp/en": {"title": "Hello", "body": "Hello"},
}
DESCRIBED = {metric.family: metric for metric in described_metrics()}


@pytest.fixture
async def platform(migrated: MigratedDatabase, broker_url: str, tmp_path: Path) -> AsyncIterator[Platform]:
    await declare(broker_url)
    async with running_platform(migrated, broker_url, tmp_path) as running:
        yield running


async def test_every_service_exports_what_the_page_tells(platform: Platform) -> None:
    tenant = await platform.new_tenant()
    await tenant.call("PUT", "/v1/subscribers/bat", json={"email": "bat@example.org"}, expect=201)
    await tenant.call("PUT", "/v1/event-types/hello", json={"channels": ["email", "inapp"]}, expect=201)
    for place, content in TEMPLATES.items():
        path = f"/v1/event-types/hello/templates/{place}"
        assert (await tenant.http.put(path, json=content)).is_success
    event = await tenant.send(type="hello", audience={"users": ["bat"]}, data={})
    await tenant.event_is(event, sent=1, delivered=1)
    assert set(PORTS) == set(ALL)
    assert 'attempts_total{channel="inapp",outcome="sent"} 1.0' in await _scrape(platform, "inapp-worker")
    assert 'provider_seconds_count{channel="email",provider="smtp"} 1.0' in await _scrape(
        platform, "email-worker"
    )
    for service in PORTS:
        text = await _scrape(platform, service)
        assert promtool("check", "metrics", given=text.encode()) == ""
        families = [one for one in text_string_to_metric_families(text) if _is_ours(one.name)]
        assert {one.name for one in families} == set(DESCRIBED)
        for family in families:
            _check(family, DESCRIBED[family.name], service)


def _is_ours(name: str) -> bool:
    return name.startswith("carillon_") and not name.endswith("_created")  # which the client adds by itself


async def _scrape(platform: Platform, service: str) -> str:
    url = f"http://{HOST}:{platform.addresses.ports[PORTS[service]]}/metrics"
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.get(url, timeout=10)).text


def _check(family: Metric, described: Described, service: str) -> None:
    """Its labels have the values of the page; who is to write it exports it, and nobody else counts in it."""
    samples = family.samples
    for sample in samples:
        for label in described.labels:
            values = described.values(label)
            assert values is None or sample.labels[label] in values, sample
    if service not in described.services:
        assert [sample for sample in samples if sample.value] == []
    elif "route" not in described.labels:
        assert samples != [], (service, family.name)
