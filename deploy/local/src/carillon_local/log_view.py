"""One view of many processes' output: a file each, and on a terminal one coloured stream."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

_COLOURS = (
    36,
    33,
    32,
    35,
    34,
    96,
    93,
    92,
    95,
    94,
)  # ECMA-48 foreground colours that read well on dark and light
_KEPT_BYTES = 10_000_000


class LogView:
    """Writes lines of named processes to their files and, when there is one, to a shared stream.

    Args:
        folder: holds ``<name>.log`` for each process; what is above 10 MB moves to ``<name>.log.1`` at a
            start.
        stream: shows all lines, each behind its process's name, or ``None`` for files only.
        names: in the order in which they get their colours.
    """

    def __init__(self, *, folder: Path, stream: IO[str] | None, names: list[str]) -> None:
        self._folder = folder
        self._stream = stream
        self._width = max((len(name) for name in names), default=0)
        self._colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
        self._files: dict[str, IO[bytes]] = {}

    @property
    def shown(self) -> bool:
        """Whether somebody looks at the shared stream."""
        return self._stream is not None

    def path(self, name: str) -> Path:
        """Return the log file of one process."""
        return self._folder / f"{name}.log"

    def file(self, name: str) -> IO[bytes]:
        """Return the open log file of one process, for it to write to by itself."""
        if name not in self._files:
            _roll(self.path(name))
            self._files[name] = self.path(name).open("ab", buffering=0)
        return self._files[name]

    def line(self, name: str, text: bytes) -> None:
        """Take one line, without its end, that came from a process."""
        self.file(name).write(text + b"\n")
        if self._stream is not None:
            self._stream.write(f"{self._prefix(name)}{text.decode(errors='replace')}\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _prefix(self, name: str) -> str:
        label = f"{name:<{self._width}} | "
        if self._stream is not None and self._stream.isatty():
            return f"\x1b[{self._colours.get(name, 37)}m{label}\x1b[0m"
        return label


class LineSplitter:
    """Cuts a stream of bytes into lines; a line without an end is given out when the stream ends."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def end(self) -> None:
        """Say that no more bytes come."""
        if self._rest:
            self._take(self._rest)
        self._rest = b""


def say(sentence: str) -> None:
    """Tell the person who started us something."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def _roll(path: Path) -> None:
    if path.exists() and path.stat().st_size > _KEPT_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
