"""Writes the blocking client from the asynchronous one, so that there is one text of both.

    python clients/python/make_blocking.py           write it
    python clients/python/make_blocking.py --check   end with 1 when it is not what is there

What differs by nature (`batching.py`: a thread in place of a task) is written by hand on both sides.
"""

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "src" / "carillon_client"
BY_HAND = {"batching.py"}
RULES = [
    (r"\bawait \(await (.+?)\)", r"\1"),
    (r"\bawait ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAsyncGenerator\[(\w[\w.]*), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\b(?:aclosing|aclose)\b", lambda found: found[0][1:]),
    (r"\ba(iter_bytes|read)\b(?=\()", r"\1"),
    (r"^import asyncio\n", "import time\n"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bcarillon_client\.aio\b", "carillon_client.blocking"),
    (r"\basynchronous\b", "blocking"),
    (r"\ban blocking\b", "a blocking"),
]

LINTING = [
    *("check", "--fix", "--unsafe-fixes", "--quiet", "--select", "F401,I,UP028"),
    *("--config", 'lint.isort.known-first-party=["carillon_client"]'),
]


def blocking(text: str) -> str:
    """Return the text of a blocking module for that of an asynchronous one."""
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def tidy(text: str, name: str) -> str:
    """Return a module as ruff writes it, without imports that have become idle."""
    for arguments in (LINTING, ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", name, "-"]
        done = subprocess.run(command, input=text, capture_output=True, check=True, text=True)  # noqa: S603 - our own linter
        text = done.stdout
    return text


def made() -> dict[Path, str]:
    """Return what every blocking module has to say."""
    found = {}
    for module in sorted((SOURCE / "aio").glob("*.py")):
        if module.name not in BY_HAND:
            target = SOURCE / "blocking" / module.name
            found[target] = tidy(blocking(module.read_text(encoding="utf-8")), str(target))
    return found


def main() -> int:
    """Write or check; return the exit code."""
    wanted = made()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(SOURCE)} is not what make_blocking.py writes\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
