"""Finding Chromium on this machine, and installing it when that is possible."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from carillon_local import apt
from carillon_local.errors import LocalError
from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SWITCHES = [
    "--no-sandbox",  # it refuses to run as root, as containers do; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-features=LocalNetworkAccessChecks",  # a page from elsewhere may call this machine unasked
]
_MISSING = (
    "Chromium is not installed and cannot be installed from here. Install it and start again: "
    "`sudo apt-get install chromium` (Debian) or a package that brings `chromium` or `google-chrome`"
)


def find_chromium() -> Path | None:
    """Return the browser's program, or ``None``."""
    found = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def ensure_chromium(say: Callable[[str], None]) -> Path:
    """Return the browser's program, installing the package first when it is missing.

    Raises:
        LocalError: when it is missing and this process may not install it.
    """
    if program := find_chromium():
        return program
    if not apt.can_install():
        raise LocalError(_MISSING)
    say("Installing chromium with apt (once)")
    apt.install("chromium", services=())
    if program := find_chromium():
        return program
    raise LocalError(_MISSING)


@asynccontextmanager
async def running_browser(program: Path) -> AsyncIterator[Browser]:
    """Run the browser without a window until the block ends."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=_SWITCHES)
        try:
            yield browser
        finally:
            await browser.close()
