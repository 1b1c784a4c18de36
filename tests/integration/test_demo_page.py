from collections.abc import AsyncIterator

import httpx2
import pytest
from support.live_api import LiveApi, running_api
from support.migrated import MigratedDatabase


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


async def test_the_page_comes_with_its_parts_and_runs_nothing_else(api: LiveApi) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        page = await http.get("/demo")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in page.text
        for part in ("/demo/demo.css", "/demo/demo.js", "/static/carillon-inbox.js"):
            assert part in page.text
            assert (await http.get(part)).status_code == 200
        for other in ("/demo/demo.html", "/demo/..%2froutes.py", "/demo/nothing.js"):
            assert (await http.get(other)).status_code == 404
