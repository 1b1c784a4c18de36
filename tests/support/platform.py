"""The whole platform as real processes, which a test may stop, kill and start again one by one."""

import asyncio
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx2
from carillon_local.platform import MOCK_PROVIDERS, SERVICES, Addresses, Service, service_environment
from carillon_shared.credentials import SCOPES, hash_secret, make_api_key
from support.migrated import MigratedDatabase
from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
_SERVICES: Mapping[str, Service] = {service.name: service for service in (MOCK_PROVIDERS, *SERVICES)}


@dataclass(slots=True)
class Platform(Seen):
    """Running services, by name."""

    database: MigratedDatabase
    addresses: Addresses
    logs: Path
    extra: dict[str, dict[str, str]] = field(default_factory=dict)  # variables of one service
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    clients: list[httpx2.AsyncClient] = field(default_factory=list)
    pepper: str = field(default_factory=lambda: secrets.token_hex(32))
    token_secret: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://{HOST}:{self.addresses.ports['api']}"

    @property
    def mock_url(self) -> str:
        """Where the mock providers answer."""
        return f"http://{HOST}:{self.addresses.ports['mock_http']}"

    async def start(self, *names: str) -> None:
        """Start services and wait until they are ready."""
        for name in names:
            await self._spawn(_SERVICES[name])
        await asyncio.gather(*(self.ready(name) for name in names))

    async def ready(self, name: str) -> None:
        """Wait until a service says that it is ready."""
        service = _SERVICES[name]
        url = f"http://{HOST}:{self.addresses.ports[service.ready_port]}{service.ready_path}"
        async with httpx2.AsyncClient(trust_env=False) as http:

            async def look() -> bool:
                process = self.processes[name]
                assert process.returncode is None, f"{name} ended: {self.log_tail(name)}"
                try:
                    return (await http.get(url, timeout=5)).status_code == 200
                except httpx2.TransportError:
                    return False

            try:
                await eventually(look, seconds=START_SECONDS, what=f"{name} to be ready")
            except AssertionError as error:
                raise AssertionError(f"{error}; its log ends: {self.log_tail(name)}") from None

    def log_tail(self, name: str, *, size: int = 3000) -> str:
        """Return the end of a service's log."""
        return (self.logs / f"{name}.log").read_text(errors="replace")[-size:]

    async def kill(self, name: str) -> None:
        """End a service as a power cut would."""
        await self._end(name, signal.SIGKILL)

    async def stop(self, *names: str) -> None:
        """Ask services to stop, and wait until they have."""
        await asyncio.gather(*(self._end(name, signal.SIGTERM) for name in names))

    async def restart(self, name: str) -> None:
        """Stop a service and start it again."""
        await self.stop(name)
        await self.start(name)

    async def close(self) -> None:
        """End everything."""
        for client in self.clients:
            await client.aclose()
        for name in list(self.processes):
            await self.kill(name)

    async def new_tenant(self, slug: str | None = None) -> Tenant:
        """Create a tenant with a key that may do everything."""
        slug = slug or f"t-{uuid4().hex[:12]}"
        key = make_api_key()
        pool = await self.database.pool(max_size=1)
        tenant_id = await pool.fetchval(
            "INSERT INTO carillon.tenants (slug, name) VALUES ($1, $1) RETURNING id", slug
        )
        await pool.execute(
            "INSERT INTO carillon.api_keys (id, tenant_id, secret_hash, scopes) VALUES ($1, $2, $3, $4)",
            key.id,
            tenant_id,
            hash_secret(key.secret, pepper=self.pepper.encode()),
            [scope for scope in SCOPES if scope != "admin"],
        )
        await pool.close()
        http = httpx2.AsyncClient(
            base_url=self.api_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            trust_env=False,
        )
        self.clients.append(http)
        return Tenant(int(tenant_id), slug, str(key), http)

    async def _spawn(self, service: Service) -> None:
        env = service_environment(service, self.addresses)
        if service.role is not None:
            env["CARILLON_DATABASE_URL"] = self.database.url(service.role)
        env |= {"CARILLON_API_KEY_PEPPER": self.pepper, "CARILLON_API_TOKEN_SECRET": self.token_secret}
        env |= self.extra.get(service.name, {})
        with (self.logs / f"{service.name}.log").open("ab") as log:
            self.processes[service.name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", service.module), env=env, stdout=log, stderr=log
            )

    async def _end(self, name: str, number: signal.Signals) -> None:
        process = self.processes.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()


@asynccontextmanager
async def running_platform(
    database: MigratedDatabase,
    broker_url: str,
    logs: Path,
    *,
    extra: dict[str, dict[str, str]] | None = None,
) -> AsyncIterator[Platform]:
    """Run every service on this database and this virtual host, whose topology must be declared."""
    ports = _free_ports([name for service in _SERVICES.values() for name in _port_names(service)])
    addresses = Addresses(ports=ports, secrets=database.service.secrets, broker_url=broker_url)
    platform = Platform(database, addresses, logs, extra or {})
    try:
        await platform.start(*_SERVICES)
        yield platform
    finally:
        await platform.close()


def _port_names(service: Service) -> set[str]:
    names = {service.ready_port, "mock_smtp", "postgres"}
    return names | ({service.metrics_port} if service.metrics_port else set())


def _free_ports(names: list[str]) -> dict[str, int]:
    """Return a port for each name, all free a moment ago."""
    listeners = {name: socket.create_server((HOST, 0)) for name in set(names)}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    for listener in listeners.values():
        listener.close()
    return ports
