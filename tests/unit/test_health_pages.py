import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry.health import Check, health_app, serve_health
from carillon_shared.telemetry.metrics import start_at_zero
from prometheus_client import CollectorRegistry, Counter


async def _fine() -> None:
    return


async def _broken() -> None:
    raise ConnectionError("no route to anna@example.org")


async def _hangs() -> None:
    await asyncio.Event().wait()


async def _get(port: int, path: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def _readiness(*checks: Check) -> tuple[int, dict[str, Any]]:
    async with serve_health(health_app(checks), host="127.0.0.1", port=0) as port:
        status, body = await _get(port, "/readyz?verbose")
        return status, json.loads(body)


async def test_ready_when_every_check_passes() -> None:
    assert await _readiness(Check("database", _fine)) == (
        200,
        {"status": "ready", "checks": {"database": "ok"}},
    )


@pytest.mark.parametrize(
    ("probe", "reason"), [(_broken, "no route to a***@e***.org"), (_hangs, "no answer within 0.05 s")]
)
async def test_not_ready_when_a_required_check_fails(
    probe: Callable[[], Awaitable[None]], reason: str
) -> None:
    status, body = await _readiness(Check("database", _fine), Check("broker", probe, timeout=0.05))
    assert status == 503
    assert body == {"status": "unavailable", "checks": {"database": "ok", "broker": reason}}


async def test_degraded_but_ready_when_an_optional_check_fails() -> None:
    status, body = await _readiness(Check("database", _fine), Check("broker", _broken, required=False))
    assert (status, body["status"]) == (200, "degraded")


async def test_details_are_told_only_when_asked_for() -> None:
    app = health_app([Check("database", _fine)])
    async with serve_health(app, host="127.0.0.1", port=0) as port:
        assert await _get(port, "/readyz") == (200, '{"status":"ready"}')


async def test_a_requested_shutdown_turns_readiness_red_and_leaves_liveness_green() -> None:
    shutdown = Shutdown()
    app = health_app([Check("shutdown", shutdown.ready)])
    async with serve_health(app, host="127.0.0.1", port=0) as port:
        assert (await _get(port, "/readyz"))[0] == 200
        shutdown.request()
        assert (await _get(port, "/readyz"))[0] == 503
        assert await _get(port, "/livez") == (200, "ok")


async def test_metrics_show_counters_that_never_happened() -> None:
    registry = CollectorRegistry()
    counter = Counter("things_total", "Things.", ["colour"], registry=registry)
    start_at_zero(counter, colour=["red", "green"])
    async with serve_health(health_app([], registry=registry), host="127.0.0.1", port=0) as port:
        _, text = await _get(port, "/metrics")
    assert 'things_total{colour="red"} 0.0' in text
    assert 'things_total{colour="green"} 0.0' in text


async def test_a_taken_port_is_an_error_at_once() -> None:
    async with serve_health(health_app([]), host="127.0.0.1", port=0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serve_health(health_app([]), host="127.0.0.1", port=port):
                pass
