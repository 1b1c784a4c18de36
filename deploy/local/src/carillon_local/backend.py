"""Choosing where PostgreSQL and RabbitMQ come from, and saying why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carillon_local import docker_engine
from carillon_local.errors import LocalError

Wanted = Literal["auto", "compose", "local"]
_PULL_SECONDS = 60.0
_COMPOSE_FILE = "docker-compose.yml"


@dataclass(frozen=True, slots=True)
class Backend:
    """The choice and the reason for it, as the end of a sentence."""

    name: Literal["compose", "local"]
    reason: str


def choose_backend(wanted: Wanted, *, checkout: Path, environment: Mapping[str, str]) -> Backend:
    """Choose: what is wanted, else given URLs, else Docker when it is ready, else private servers.

    Raises:
        LocalError: when Compose is wanted and cannot be used.
    """
    if wanted == "local":
        return Backend("local", "it was asked for")
    obstacle = "" if wanted == "compose" else _given(environment)
    obstacle = obstacle or _docker_obstacle(checkout, pull=wanted == "auto")
    if not obstacle:
        return Backend("compose", "it was asked for" if wanted == "compose" else "a Docker engine is ready")
    if wanted == "compose":
        raise LocalError(f"Docker Compose cannot be used: {obstacle}")
    return Backend("local", obstacle)


def _given(environment: Mapping[str, str]) -> str:
    names = [name for name in ("CARILLON_DATABASE_URL", "CARILLON_BROKER_URL") if environment.get(name)]
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} given" if names else ""


def _docker_obstacle(checkout: Path, *, pull: bool) -> str:
    """Return what keeps Compose from being used, or an empty text.

    When Compose was asked for by name, pulling the images is left to it, however long that takes.
    """
    if not (checkout / _COMPOSE_FILE).is_file():
        return f"there is no {_COMPOSE_FILE} here"
    if not docker_engine.engine_answers():
        return "no Docker engine answers"
    if not docker_engine.compose_answers():
        return "Docker Compose v2 is not installed"
    images = list(pinned_images(checkout).values())
    if (
        pull
        and not docker_engine.has_images(images)
        and not docker_engine.pull(images, seconds=_PULL_SECONDS)
    ):
        return f"the Docker images were not all there within {_PULL_SECONDS:g} s"
    return ""


def pinned_images(checkout: Path) -> dict[str, str]:
    """Return the images named in ``deploy/images.env``, a file of ``NAME=image`` lines, by name."""
    file = checkout / "deploy" / "images.env"
    if not file.is_file():
        return {}
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    named = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: image for name, _, image in named}
