"""A synchronous standby, made as an operator would make one: pg_basebackup, and then promoted."""

import asyncio
import subprocess
from urllib.parse import urlsplit

import asyncpg
from carillon_local.postgres import PostgresServer
from support.waiting import eventually

_NAME = "standby"
_ACCESS = "host all,replication all 127.0.0.1/32 scram-sha-256\n"


async def make_standby(primary: PostgresServer, standby: PostgresServer) -> None:
    """Copy the primary, start the copy, and let every commit wait for it from now on."""
    primary.account.write_private(primary.data / "pg_hba.conf", _ACCESS)
    at_primary = primary.superuser_url
    await _tell(at_primary, "SELECT pg_reload_conf()")
    standby.account.make_folder(standby.folder)
    await asyncio.to_thread(_copy, primary, standby)
    await asyncio.to_thread(standby.start)
    await _tell(at_primary, f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'")
    await _tell(at_primary, "SELECT pg_reload_conf()")

    async def in_step() -> bool:
        return await _tell(at_primary, "SELECT sync_state FROM pg_stat_replication") == "sync"

    await eventually(in_step, seconds=60, what="the standby to be synchronous")


def superuser_url(primary: PostgresServer, standby: PostgresServer) -> str:
    """Return the standby's URL as superuser; its passwords are the primary's."""
    return primary.superuser_url.replace(f":{primary.port}/", f":{standby.port}/")


async def promote(url: str) -> None:
    """Make a standby the primary, which waits for no other. `url` is its superuser's."""
    assert await _tell(url, "SELECT pg_promote()")
    await _tell(url, "ALTER SYSTEM SET synchronous_standby_names = ''")
    await _tell(url, "SELECT pg_reload_conf()")


async def fence(url: str) -> None:
    """Let a server take no writes any more, without ending anybody's session. `url` is its superuser's."""
    await _tell(url, "ALTER SYSTEM SET default_transaction_read_only = on")
    await _tell(url, "SELECT pg_reload_conf()")


def _copy(primary: PostgresServer, standby: PostgresServer) -> None:
    place = urlsplit(primary.superuser_url)
    link = f"host={place.hostname} port={place.port} user={place.username} application_name={_NAME}"
    password = str(place.password)
    subprocess.run(  # noqa: S603 -- a program of our own server
        [
            str(primary.binaries / "pg_basebackup"),
            *("--dbname", f"{link} password={password}", "--pgdata", str(standby.data)),
            *("--write-recovery-conf", "--checkpoint=fast"),
        ],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd=standby.folder,
        user=standby.account.uid,
        group=standby.account.gid,
        extra_groups=None if standby.account.uid is None else [],
        check=True,
        capture_output=True,
        timeout=60,
    )


async def _tell(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=20, command_timeout=60)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close(timeout=10)
