"""Prometheus' own checks. A test that runs them says so: `pytest.mark.needs("promtool")`."""

import subprocess
from pathlib import Path

from support.programs import ensure_program

_SECONDS = 60.0


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run it; return all that it says, empty where it has nothing to find fault with in metrics.

    Raises `AssertionError` with what it says when it ends with another code than 0.
    """
    done = subprocess.run(  # noqa: S603 - a fixed program, and our own files
        [ensure_program("promtool", print), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said
