"""The faults a soak draws from. Each breaks something, waits a while and mends it again."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
from carillon_shared.lifecycle import CrashPoint
from soak.scene import LINKS, SERVICES, Scene
from support.faults.broker_ground import control
from support.faults.toxics import Direction

_CRASH_SECONDS = 15.0
_OWNERS = {
    "api": ("api",),
    "relay": ("dispatcher",),
    "dispatcher": ("dispatcher",),
    "worker": ("email-worker", "whatsapp-worker"),
    "inapp": ("inapp-worker",),
    "rescue": ("dispatcher",),
    "operation": ("dispatcher",),
}
_POINTS = [point for point in CrashPoint if point.partition(".")[0] in _OWNERS]
_PROVIDER_FAULTS = (
    *("retry", "rate_limited", "server_error", "timeout", "lost_reply", "reset", "slow", "hang", "garbage"),
)
_LITTLE_MEMORY, _USUAL_MEMORY = "0.0000001", "0.4"  # the share at which the broker stops publishers


@dataclass(frozen=True, slots=True)
class Draw:
    """The draws of one fault; the same seed draws the same faults in the same order."""

    random: random.Random

    def seconds(self, least: float, most: float) -> float:
        return round(self.random.uniform(least, most), 1)

    def service(self) -> str:
        return self.random.choice(SERVICES)


Fault = Callable[[Scene, Draw], Awaitable[str]]
"""Breaks and mends; returns what it did, in words."""


async def kill(scene: Scene, draw: Draw) -> str:
    name, seconds = draw.service(), draw.seconds(0, 3)
    await scene.platform.kill(name)
    await asyncio.sleep(seconds)
    await scene.platform.start(name)
    return f"killed {name} for {seconds} s"


async def restart(scene: Scene, draw: Draw) -> str:
    """Ask a service to stop and start it again, as a deployment does."""
    name = draw.service()
    await scene.platform.restart(name)
    return f"restarted {name}"


async def crash(scene: Scene, draw: Draw) -> str:
    """Let a service die at a named point, if it comes by there in time."""
    point, hits = draw.random.choice(_POINTS), draw.random.randint(1, 5)
    name = draw.random.choice(_OWNERS[point.partition(".")[0]])
    armed = {"CARILLON_CRASH_AT": point.value, "CARILLON_CRASH_AFTER_HITS": str(hits)}
    before = dict(scene.platform.extra.get(name, {}))
    scene.platform.extra[name] = before | armed
    try:
        with suppress(AssertionError):  # it may die before it was ready
            await scene.platform.restart(name)
        died = await _dies(scene, name)
    finally:
        scene.platform.extra[name] = before
    if died:
        scene.platform.processes.pop(name, None)
        await scene.platform.start(name)
    else:
        await scene.platform.restart(name)
    return f"{'crashed' if died else 'would have crashed'} {name} at {point}, pass {hits}"


async def _dies(scene: Scene, name: str) -> bool:
    process = scene.platform.processes[name]
    try:
        async with asyncio.timeout(_CRASH_SECONDS):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def pause(scene: Scene, draw: Draw) -> str:
    name, seconds = draw.service(), draw.seconds(1, 20)
    await scene.platform.pause(name)
    await asyncio.sleep(seconds)
    scene.platform.resume(name)
    return f"froze {name} for {seconds} s"


async def broker_restart(scene: Scene, draw: Draw) -> str:
    kill_it, seconds = draw.random.random() < 0.5, draw.seconds(0, 4)
    await asyncio.to_thread(scene.rabbitmq.kill if kill_it else scene.rabbitmq.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(scene.rabbitmq.start)
    return f"{'killed' if kill_it else 'stopped'} the broker for {seconds} s"


async def broker_freeze(scene: Scene, draw: Draw) -> str:
    seconds = draw.seconds(1, 8)
    await asyncio.to_thread(scene.rabbitmq.pause)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(scene.rabbitmq.resume)
    return f"froze the broker for {seconds} s"


async def broker_alarm(scene: Scene, draw: Draw) -> str:
    """Have the broker block every connection that publishes."""
    seconds = draw.seconds(1, 8)
    await _watermark(scene, _LITTLE_MEMORY)
    try:
        await asyncio.sleep(seconds)
    finally:
        await _watermark(scene, _USUAL_MEMORY)
    return f"a memory alarm of the broker for {seconds} s"


async def _watermark(scene: Scene, share: str) -> None:
    await asyncio.to_thread(control, scene.rabbitmq, "set_vm_memory_high_watermark", share)


async def broker_closes(scene: Scene, draw: Draw) -> str:
    """Have the broker close every connection, some of them while they are being made again."""
    times = draw.random.randint(1, 3)
    for _ in range(times):
        await asyncio.to_thread(control, scene.rabbitmq, "close_all_connections", "soak")
        await asyncio.sleep(0.5)
    return f"the broker closed every connection {times} times"


async def database_restart(scene: Scene, draw: Draw) -> str:
    kill_it, seconds = draw.random.random() < 0.5, draw.seconds(0, 4)
    await asyncio.to_thread(scene.postgres.kill if kill_it else scene.postgres.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(scene.postgres.start)
    return f"{'killed' if kill_it else 'stopped'} the database for {seconds} s"


async def database_freeze(scene: Scene, draw: Draw) -> str:
    seconds = draw.seconds(1, 6)
    await asyncio.to_thread(scene.postgres.pause)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(scene.postgres.resume)
    return f"froze the database for {seconds} s"


async def terminate(scene: Scene, draw: Draw) -> str:
    """End database sessions wherever they are, some in the middle of a transaction."""
    times = draw.random.randint(1, 5)
    connection = await asyncpg.connect(scene.postgres.superuser_url, timeout=10, command_timeout=10)
    try:
        for _ in range(times):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = $1 AND pid <> pg_backend_pid()",
                scene.platform.database.name,
            )
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return f"ended every database session {times} times"


async def network(scene: Scene, draw: Draw) -> str:
    """Break one service's way to something it needs."""
    name, link = draw.random.choice(LINKS)
    proxy, seconds = scene.links[name, link], draw.seconds(1, 12)
    kind = draw.random.choice(["delay", "throttle", "one-way", "silence", "cut", "refuse", "reset"])
    match kind:
        case "delay":
            proxy.delay(draw.seconds(0.1, 1.0), jitter=0.2)
        case "throttle":
            proxy.throttle(draw.random.randint(2_000, 20_000))
        case "one-way":
            proxy.blackhole(draw.random.choice(list(Direction)))
        case "silence":
            proxy.blackhole()
        case "cut":
            await proxy.cut()
        case "refuse":
            proxy.refuse()
            await proxy.cut()
        case _:
            proxy.reset_after(draw.random.randint(10, 20_000))
    await asyncio.sleep(seconds)
    await proxy.heal()
    return f"{kind} between {name} and its {link} for {seconds} s"


async def provider(scene: Scene, draw: Draw) -> str:
    kind, rate, seconds = draw.random.choice(_PROVIDER_FAULTS), draw.seconds(0.1, 0.9), draw.seconds(2, 12)
    rule = {"fault": kind, "rate": rate}
    seed = draw.random.randint(0, 1000)
    await scene.platform.mock_control("PUT", "/control/faults", params={"seed": seed}, json=[rule])
    await asyncio.sleep(seconds)
    await scene.platform.mock_control("DELETE", "/control/faults")
    await scene.platform.mock_control("POST", "/control/release")
    return f"providers: {kind} for {rate:.0%} of calls, {seconds} s"


FAULTS: Mapping[str, Fault] = {
    "kill": kill,
    "restart": restart,
    "crash": crash,
    "pause": pause,
    "broker-restart": broker_restart,
    "broker-freeze": broker_freeze,
    "broker-alarm": broker_alarm,
    "broker-closes": broker_closes,
    "database-restart": database_restart,
    "database-freeze": database_freeze,
    "terminate": terminate,
    "network": network,
    "provider": provider,
}
_WEIGHTS = {"kill": 4, "crash": 4, "network": 4, "provider": 3, "terminate": 2}


@asynccontextmanager
async def healed(scene: Scene) -> AsyncIterator[None]:
    """Whatever happens inside, afterwards nothing is broken on purpose."""
    try:
        yield
    finally:
        await scene.links.heal()
        await scene.platform.mock_control("DELETE", "/control/faults")
        await scene.platform.mock_control("POST", "/control/release")


def next_fault(source: random.Random) -> tuple[str, Fault, Draw]:
    """Draw a fault. What it draws itself comes from a source of its own, however long it took before."""
    names = list(FAULTS)
    (name,) = source.choices(names, weights=[_WEIGHTS.get(one, 1) for one in names])
    return name, FAULTS[name], Draw(random.Random(source.random()))  # noqa: S311 -- faults are no secret
