"""The whole platform as real processes, which a test may stop, freeze, kill and start again one by one.

A name may carry a number: `email-worker-2` is a second e-mail worker with ports of its own, started and ended
like any other (`await platform.start("email-worker-2")`).
"""

import asyncio
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import httpx2
from carillon_local.platform import MOCK_PROVIDERS, SERVICES, Addresses, Service, service_environment
from carillon_local.ports import PortHolder
from carillon_local.processes import freeze, leash
from carillon_shared.credentials import SCOPES, hash_secret, make_api_key
from support.migrated import MigratedDatabase
from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_SERVICES: Mapping[str, Service] = {service.name: service for service in (MOCK_PROVIDERS, *SERVICES)}


@dataclass(slots=True)
class Platform(Seen):
    """Running services, by name."""

    database: MigratedDatabase
    addresses: Addresses
    port_holder: PortHolder
    logs: Path
    management_url: str | None = None  # of the broker, where it is known
    extra: dict[str, dict[str, str]] = field(default_factory=dict)  # variables of one service
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    replica_ports: dict[str, dict[str, int]] = field(default_factory=dict)
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

    def url_of(self, name: str) -> str:
        """Return where a service answers that it is ready; for an API, its base address."""
        return f"http://{HOST}:{self._ports(name)[_service(name).ready_port]}"

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment that a service is started with."""
        service = _service(name)
        env = service_environment(service, replace(self.addresses, ports=self._ports(name)))
        if service.role is not None:
            env["CARILLON_DATABASE_URL"] = self.database.url(service.role)
        env |= {"CARILLON_API_KEY_PEPPER": self.pepper, "CARILLON_API_TOKEN_SECRET": self.token_secret}
        return env | self.extra.get(service.name, {}) | self.extra.get(name, {})

    async def start(self, *names: str) -> None:
        """Start services and wait until they are ready."""
        for name in names:
            await self.spawn(name)
        await asyncio.gather(*(self.ready(name) for name in names))

    async def ready(self, name: str) -> None:
        """Wait until a service says that it is ready."""
        url = self.url_of(name) + _service(name).ready_path
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

    async def stopped(self, name: str) -> int:
        """Ask a service to stop; return its exit code."""
        process = self.processes[name]
        await self.stop(name)
        assert process.returncode is not None
        return process.returncode

    async def ended(self, name: str, *, seconds: float = STOP_SECONDS) -> int:
        """Wait until a service ends by itself, as at a crash point; return its exit code."""
        process = self.processes[name]
        async with asyncio.timeout(seconds):
            code = await process.wait()
        self.processes.pop(name)
        return code

    async def pause(self, name: str) -> None:
        """Freeze a service: connections stay open, nothing answers. Returns when it really stands still."""
        await asyncio.to_thread(freeze, self.processes[name].pid)

    def resume(self, name: str) -> None:
        """Let a frozen service go on."""
        self.processes[name].send_signal(signal.SIGCONT)

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

    async def spawn(self, name: str) -> None:
        """Start a service without waiting until it is ready."""
        env = self.environment(name)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _service(name).module),
                env=env,
                stdout=log,
                stderr=log,
                preexec_fn=leash(signal.SIGKILL),  # nothing outlives the tests, however they end
            )

    def _ports(self, name: str) -> Mapping[str, int]:
        """Return the ports a process is told: the platform's, and its own where it is a further replica."""
        if name in _SERVICES:
            return self.addresses.ports
        if name not in self.replica_ports:
            service = _service(name)
            own = {service.ready_port, service.metrics_port or service.ready_port}
            self.replica_ports[name] = {port: self.port_holder.pick() for port in own}
        return {**self.addresses.ports, **self.replica_ports[name]}

    async def _end(self, name: str, number: signal.Signals) -> None:
        process = self.processes[name]
        if process.returncode is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # a frozen process would never see the request
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
        self.processes.pop(name)


@asynccontextmanager
async def running_platform(
    database: MigratedDatabase,
    broker_url: str,
    logs: Path,
    *,
    extra: dict[str, dict[str, str]] | None = None,
    management_url: str | None = None,
    before_start: Callable[[Platform], Awaitable[None]] | None = None,
) -> AsyncIterator[Platform]:
    """Run every service on this database and this virtual host, whose topology must be declared.

    `before_start` may set up what stands between the services, such as proxies.
    """
    holder = PortHolder()  # a service's port stays its own while it is away
    names = set().union(*(_port_names(service) for service in _SERVICES.values()))
    ports = {name: holder.pick() for name in names}
    addresses = Addresses(ports=ports, secrets=database.service.secrets, broker_url=broker_url)
    platform = Platform(database, addresses, holder, logs, management_url, extra or {})
    try:
        if before_start is not None:
            await before_start(platform)
        await platform.start(*_SERVICES)
        yield platform
    finally:
        await platform.close()
        holder.release()


def _service(name: str) -> Service:
    """Return what runs under a name: `email-worker-2` is an e-mail worker."""
    return _SERVICES[name] if name in _SERVICES else _SERVICES[name.rpartition("-")[0]]


def _port_names(service: Service) -> set[str]:
    names = {service.ready_port, "mock_smtp", "postgres"}
    return names | ({service.metrics_port} if service.metrics_port else set())
