"""What the Docker engine of this machine can do for us, asked through its command line."""

import shutil
import subprocess
import time
from collections.abc import Sequence

_ANSWER_SECONDS = 5


def engine_answers() -> bool:
    """Tell whether the ``docker`` command is here and its engine answers within five seconds."""
    return shutil.which("docker") is not None and _succeeds("version", "--format", "{{.Server.Version}}")


def compose_answers() -> bool:
    """Tell whether Compose v2 is installed beside the command."""
    return _succeeds("compose", "version")


def has_images(images: Sequence[str]) -> bool:
    """Tell whether the engine has all these images already."""
    return all(_succeeds("image", "inspect", "--format", "{{.Id}}", image) for image in images)


def pull(images: Sequence[str], *, seconds: float) -> bool:
    """Pull the images one after the other; tell whether all arrived within ``seconds``."""
    deadline = time.monotonic() + seconds
    return all(
        _run(["docker", "pull", "--quiet", image], seconds=max(deadline - time.monotonic(), 0))
        for image in images
    )


def _succeeds(*arguments: str) -> bool:
    return _run(["docker", *arguments], seconds=_ANSWER_SECONDS)


def _run(command: Sequence[str], *, seconds: float) -> bool:
    try:
        result = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
