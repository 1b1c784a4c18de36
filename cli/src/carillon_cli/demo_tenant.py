"""The demo tenant's key, which `up` makes and keeps for the commands."""

import asyncio
import json
import subprocess
from pathlib import Path

import httpx2
from carillon_local.launcher import Status

from carillon_cli.connection import CliFile, read_cli_file, write_cli_file
from carillon_cli.failures import CommandError
from carillon_cli.key_store import create_key
from carillon_cli.recorded import api_key_pepper, owner_database_url
from carillon_cli.settings import cli_settings

TENANT = "demo"
SCOPES = ("events:write", "events:read", "registry:write", "subscribers:write", "operator")
_SECONDS = 10.0


def remember_platform(found: Status, checkout: Path) -> CliFile:
    """Write `.carillon/cli.json` for the platform that runs, with a new key unless the kept one works.

    Raises:
        CommandError: when no key can be made.
    """
    url = found.urls["api"]
    kept = read_cli_file(checkout)
    key = kept.api_key if kept is not None and _key_works(url, kept.api_key) else _new_key(found, checkout)
    content = CliFile(api_url=url, api_key=key, tenant=TENANT, mock_url=found.urls.get("mock providers"))
    if content != kept:
        write_cli_file(checkout, content)
    return content


def _key_works(url: str, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    try:
        reply = httpx2.get(f"{url}/v1/tenant/defaults", headers=headers, timeout=_SECONDS, trust_env=False)
    except httpx2.TransportError:
        return False
    return reply.is_success


def _new_key(found: Status, checkout: Path) -> str:
    if found.backend == "compose":
        return _new_key_in_compose(checkout)
    settings = cli_settings()
    key = asyncio.run(
        create_key(
            owner_database_url(settings, checkout),
            tenant=TENANT,
            scopes=SCOPES,
            pepper=api_key_pepper(settings, checkout),
            name="command line",
            create_tenant=True,
        )
    )
    return str(key)


def _new_key_in_compose(checkout: Path) -> str:
    """Ask the `cli` container, which alone has the pepper and reaches the database."""
    command = ["docker", "compose", "run", "--rm", "-T", "cli", "keys", "create", "--tenant", TENANT]
    command += ["--create-tenant", "--scopes", ",".join(SCOPES), "--name", "command line", "--json"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S603 - constants
    if done.returncode != 0:
        raise CommandError(f"No key could be made for the demo tenant: {done.stderr.strip()}")
    return str(json.loads(done.stdout.strip().splitlines()[-1])["key"])
