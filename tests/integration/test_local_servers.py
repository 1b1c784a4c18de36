"""The private servers of the no-Docker backend, on a machine that has no others."""

import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import AMQPConnectionError
from carillon_local.accounts import Account
from carillon_local.database import prepare_database
from carillon_local.places import find_places
from carillon_local.postgres import PostgresServer
from carillon_local.processes import descendants, start_mark
from carillon_local.rabbitmq import RabbitmqServer
from carillon_local.secrets import SERVICE_ROLES, Secrets
from support.broker_disk import queue_on_disk
from support.local_servers import LocalServers
from support.services import PostgresService, RabbitmqService
from support.waiting import wait_until


async def test_postgres_is_durable_and_listens_on_loopback_only(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.superuser_url, timeout=10)
    wanted = {"fsync": "on", "synchronous_commit": "on", "listen_addresses": "127.0.0.1", "jit": "off"}
    found = {name: await connection.fetchval(f"SHOW {name}") for name in wanted}
    version = await connection.fetchval("SHOW server_version_num")
    await connection.close()
    assert found == wanted
    assert int(version) >= 180000


async def test_postgres_refuses_a_wrong_password(own_postgres: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(_with_password(own_postgres.superuser_url, "wrong"), timeout=10)


async def test_postgres_keeps_what_was_committed_through_a_kill(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.superuser_url, timeout=10)
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.execute("INSERT INTO kept VALUES (7)")
    own_postgres.kill()
    own_postgres.start()
    again = await asyncpg.connect(own_postgres.superuser_url, timeout=10)
    assert await again.fetchval("SELECT n FROM kept") == 7
    await again.close()


def test_postgres_leaves_no_process_when_stopped(own_postgres: PostgresServer) -> None:
    pids = [own_postgres.pid, *descendants(own_postgres.pid)]
    assert len(pids) > 1
    own_postgres.stop()
    assert [pid for pid in pids if start_mark(pid)] == []


async def test_rabbitmq_takes_a_quorum_queue_and_keeps_its_messages_through_a_kill(
    own_rabbitmq: RabbitmqServer,
) -> None:
    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    wait_until(lambda: queue_on_disk(own_rabbitmq, "kept"), seconds=15, what="the queue on disk")
    own_rabbitmq.kill()
    own_rabbitmq.start()
    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        kept = await queue.get(timeout=10)
        await kept.ack()
    assert kept.body == b"kept"


async def test_rabbitmq_refuses_a_wrong_password_and_has_no_guest(rabbitmq: RabbitmqService) -> None:
    for url in (
        _with_password(rabbitmq.amqp_url, "wrong"),
        f"amqp://guest:guest@127.0.0.1:{urlsplit(rabbitmq.amqp_url).port}/",
    ):
        with pytest.raises(AMQPConnectionError):
            await aio_pika.connect(url)


def test_rabbitmq_leaves_no_process_when_stopped(own_rabbitmq: RabbitmqServer) -> None:
    roots = [own_rabbitmq.pid, own_rabbitmq.port_mapper.pid]
    pids = [pid for root in roots for pid in (root, *descendants(root))]
    own_rabbitmq.stop()
    assert [pid for pid in pids if start_mark(pid)] == []


def test_two_nodes_have_different_names(local_servers: LocalServers) -> None:
    names = {local_servers.new_rabbitmq(folder).node_name for folder in ("one", "two")}
    assert len(names) == 2


async def test_service_roles_reach_their_database_and_have_no_power_over_others(
    postgres: PostgresService, database: str
) -> None:
    for role in SERVICE_ROLES:
        connection = await asyncpg.connect(postgres.url(role, database), timeout=10)
        powers = await connection.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
            "WHERE rolname = current_user",
        )
        await connection.close()
        assert powers is not None
        assert not any(powers.values())


async def test_only_the_owner_may_create_tables(postgres: PostgresService, database: str) -> None:
    owner = await asyncpg.connect(postgres.url("carillon_owner", database), timeout=10)
    await owner.execute("CREATE SCHEMA carillon")
    await owner.close()
    service = await asyncpg.connect(postgres.url("carillon_api", database), timeout=10)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute("CREATE TABLE public.mine (n int)")
    await service.close()


async def test_preparing_a_database_again_changes_nothing_but_passwords(own_postgres: PostgresServer) -> None:
    await prepare_database(own_postgres.superuser_url, "twice", Secrets())
    secrets = Secrets()
    await prepare_database(own_postgres.superuser_url, "twice", secrets)
    url = secrets.database_url("carillon_api", port=own_postgres.port, database="twice")
    connection = await asyncpg.connect(url, timeout=10)
    assert await connection.fetchval("SELECT current_database()") == "twice"
    await connection.close()


async def test_a_checkout_that_only_its_owner_may_enter_works_and_stays_so(
    tmp_path: Path, local_servers: LocalServers
) -> None:
    home = tmp_path / "home"
    checkout = home / "checkout"
    checkout.mkdir(parents=True)
    for folder in (home, checkout):
        folder.chmod(0o700)
    before = _modes(tmp_path)
    places = find_places(checkout)
    server = local_servers.new_postgres("private", below=places.servers)
    server.start()
    connection = await asyncpg.connect(server.superuser_url, timeout=10)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    server.stop()
    assert {path: mode for path, mode in _modes(tmp_path).items() if path in before} == before
    shutil.rmtree(places.servers)


def test_secrets_and_folders_of_ours_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = Account().make_folder(tmp_path / "ours")
    Account().write_private(folder / "secret", "x")
    assert _mode(folder) == 0o700
    assert _mode(folder / "secret") == 0o600


def _modes(below: Path) -> dict[Path, int]:
    folders = [below, *below.parents, *(path for path in below.rglob("*") if path.is_dir())]
    return {folder: _mode(folder) for folder in folders}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _with_password(url: str, password: str) -> str:
    place = urlsplit(url)
    return place._replace(netloc=f"{place.username}:{password}@{place.hostname}:{place.port}").geturl()
