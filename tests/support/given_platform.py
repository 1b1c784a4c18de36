"""A platform that runs already and is not ours to stop, such as Docker Compose's."""

import asyncio
import json
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx2
from carillon_shared.credentials import SCOPES
from support.seen import Seen
from support.tenant import Tenant

_KEY_SECONDS = 60.0


@dataclass(slots=True)
class GivenPlatform(Seen):
    """Where it answers, and the command that makes keys for it (`carillon keys create` there)."""

    given_api_url: str
    given_mock_url: str
    keys_command: list[str]
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return self.given_api_url

    @property
    def mock_url(self) -> str:
        """Where the mock providers answer."""
        return self.given_mock_url

    async def new_tenant(self, slug: str | None = None) -> Tenant:
        """Create a tenant with a key that may do everything."""
        slug = slug or f"t-{uuid4().hex[:12]}"
        scopes = ",".join(scope for scope in SCOPES if scope != "admin")
        key = await self._make_key("--tenant", slug, "--create-tenant", "--scopes", scopes, "--json")
        http = httpx2.AsyncClient(
            base_url=self.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )
        self.clients.append(http)
        return Tenant(0, slug, key, http)

    async def _make_key(self, *arguments: str) -> str:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.keys_command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(_KEY_SECONDS):
            output, errors = await process.communicate()
        assert process.returncode == 0, f"{shlex.join(self.keys_command)}: {errors.decode()}"
        return str(json.loads(output.splitlines()[-1])["key"])


def platform_is_given() -> bool:
    """Tell whether the environment names a platform to use."""
    return bool(os.environ.get("CARILLON_E2E_API_URL"))


@asynccontextmanager
async def given_platform() -> AsyncIterator[GivenPlatform]:
    """Return the platform that the environment names. Raises `KeyError` when part of it is not named."""
    platform = GivenPlatform(
        os.environ["CARILLON_E2E_API_URL"],
        os.environ["CARILLON_E2E_MOCK_URL"],
        shlex.split(os.environ["CARILLON_E2E_KEYS_COMMAND"]),
    )
    try:
        yield platform
    finally:
        for client in platform.clients:
            await client.aclose()
