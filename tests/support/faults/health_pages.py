"""What a running service says about itself."""

import httpx2
from support.platform import Platform
from support.waiting import eventually


async def readiness(platform: Platform, name: str) -> dict[str, str]:
    """Return what each readiness check of a service says."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.get(f"{platform.url_of(name)}/readyz", params={"verbose": ""}, timeout=10)
    checks: dict[str, str] = reply.json()["checks"]
    return checks


async def says(platform: Platform, name: str, check: str, *words: str, seconds: float = 60) -> None:
    """Wait until a readiness check of a service says all of these words."""
    found = {}

    async def look() -> bool:
        found.update(await readiness(platform, name))
        return all(word in found[check] for word in words)

    try:
        await eventually(look, seconds=seconds, what=f"{check} of {name} to say {words}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {found}") from None


async def shows(platform: Platform, name: str, line: str, *, seconds: float = 60) -> None:
    """Wait until a service's `/metrics` has a line that begins so."""

    async def look() -> bool:
        async with httpx2.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"{platform.url_of(name)}/metrics", timeout=10)).text
        return any(one.startswith(line) for one in text.splitlines())

    await eventually(look, seconds=seconds, what=f"{name} to show {line}")


async def metric(platform: Platform, name: str, series: str) -> float:
    """Return the value of a series, `name{label="value"}`, on a service's `/metrics`; 0 when not there."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{platform.url_of(name)}/metrics", timeout=10)).text
    lines = [line for line in text.splitlines() if line.startswith(f"{series} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0
