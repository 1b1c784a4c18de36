"""Compiled templates, kept by their text: the key is the content, so a new version never meets an old one."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from carillon_shared.content.errors import BrokenTemplateError, Fault

MAX_CHARACTERS = 8_000_000
"""Template text kept compiled. What is compiled of it takes a few times as much memory."""

MAX_ENTRIES = 4_096

T = TypeVar("T")
_Key = tuple[str, str]


class TemplateCache:
    """Least recently used out first, bounded by the size of the texts; faults are kept as well."""

    def __init__(self, *, characters: int = MAX_CHARACTERS, entries: int = MAX_ENTRIES) -> None:
        self._characters = characters
        self._entries = entries
        self._size = 0
        self._kept: OrderedDict[_Key, tuple[Any, list[Fault] | None]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, kind: str, source: str, make: Callable[[], T]) -> T:
        """Return what `make` made of this text before, or makes now. Raises its `BrokenTemplateError`."""
        key = (kind, source)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            kept = _attempt(make)
            self._put(key, kept)
        made, faults = kept
        if faults is not None:
            raise BrokenTemplateError(faults)
        return made  # type: ignore[no-any-return] # the kind in the key says which type it is

    def __len__(self) -> int:
        return len(self._kept)

    def _put(self, key: _Key, kept: tuple[Any, list[Fault] | None]) -> None:
        with self._lock:
            if key not in self._kept:
                self._size += len(key[1])
            self._kept[key] = kept
            while self._size > self._characters or len(self._kept) > self._entries:
                (_, source), _ = self._kept.popitem(last=False)
                self._size -= len(source)


def _attempt(make: Callable[[], Any]) -> tuple[Any, list[Fault] | None]:
    try:
        return make(), None
    except BrokenTemplateError as error:
        return None, error.faults


_TEMPLATES = TemplateCache()


def cached(kind: str, source: str, make: Callable[[], T]) -> T:
    """Use the process's own cache."""
    return _TEMPLATES.get(kind, source, make)
