"""Services as an earlier commit had them, to run beside today's."""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from carillon_local.places import find_checkout
from support.platform import Platform

_CHECKOUT = find_checkout(Path(__file__))
_SHARED = "shared/src"
_SCHEMA = "shared/src/carillon_shared/db/schema"
_MOST_COMMITS = 200
_SECONDS = 60
_CALLED = re.compile(r"carillon\.(\w+)\(")
_DEFINED = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION carillon\.(\w+)\((.*?)\)\s*RETURNS(.*?)LANGUAGE", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A commit's code, unpacked."""

    commit: str
    folder: Path

    def source_folders(self, service: str) -> list[Path]:
        """Return what to put on the path, before today's."""
        return [self.folder / "services" / service / "src", self.folder / _SHARED]


def unpack_earlier(service: str, folder: Path) -> Earlier:
    """Unpack the newest earlier commit whose service differs and speaks to today's database.

    What a service asks of the database are functions; all that it calls must be there as they were then.
    Before the first release they are changed in place: when no earlier commit fits, the last one is taken.

    Raises ``AssertionError`` when the checkout has no history (a shallow clone: `git fetch --unshallow`).
    """
    paths = [f"services/{service}/src", _SHARED]
    commits = _git("log", f"-n{_MOST_COMMITS}", "--format=%H", "HEAD~1", "--", *paths).decode().split()
    assert commits, "this test needs the project's history: git fetch --unshallow"
    today = _signatures(_CHECKOUT)
    for commit in commits:
        found = _unpack(commit, paths, folder)
        called = set(_CALLED.findall(_text(found.source_folders(service), "*.py")))
        then = _signatures(found.folder)
        if all(then[name] == today.get(name) for name in called & then.keys()):
            return found
    return _unpack("HEAD", paths, folder)


@asynccontextmanager
async def running_earlier(
    platform: Platform, name: str, earlier: Earlier
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an earlier service in the place of today's, which is stopped meanwhile."""
    env = platform.environment(name)
    path = [str(one) for one in earlier.source_folders(name)]
    env["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [env.get("PYTHONPATH")])])
    module = f"carillon_{name.replace('-', '_')}"
    await platform.stop(name)
    with (platform.logs / f"earlier-{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module), env=env, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(_SECONDS):
            await process.wait()
        await platform.start(name)


def _unpack(commit: str, paths: list[str], folder: Path) -> Earlier:
    target = folder / commit
    with tarfile.open(fileobj=BytesIO(_git("archive", commit, "--", *paths))) as archive:
        archive.extractall(target, filter="data")
    return Earlier(commit, target)


def _signatures(root: Path) -> Mapping[str, str]:
    """Return what each database function takes and returns."""
    found = _DEFINED.findall(_text([root / _SCHEMA], "*.sql"))
    return {name: " ".join(f"{takes} -> {returns}".split()) for name, takes, returns in found}


def _text(folders: list[Path], pattern: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in sorted(folder.rglob(pattern)))


def _git(*arguments: str) -> bytes:
    done = subprocess.run(  # noqa: S603 -- fixed arguments
        ["git", "-C", str(_CHECKOUT), *arguments],  # noqa: S607 -- the git on the path
        capture_output=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
