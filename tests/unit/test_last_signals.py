from typing import Any

from carillon_api.stream.connection import chunk
from carillon_api.stream.last_signals import KEPT_SECONDS, LastSignals


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _shown(kept: LastSignals, person: str = "u-7", *topics: str, tenant: str = "acme") -> list[bytes]:
    found: list[Any] = [message["body"] for _, message in kept.of(tenant, person, topics)]
    return found


def test_the_newest_of_each_name_is_kept_for_whom_it_concerns() -> None:
    kept = LastSignals(_Time())
    kept.keep("acme", (1, "job:1", "progress"), chunk(b"10"))
    kept.keep("acme", (1, "job:1", "progress"), chunk(b"20"))
    kept.keep("acme", (1, "job:1", "log"), chunk(b"line"))
    kept.keep("acme", (0, "u-7", "progress"), chunk(b"mine"))
    assert _shown(kept, "u-7", "job:1") == [b"mine", b"20", b"line"]
    assert _shown(kept, "u-8", "job:1") == [b"20", b"line"]
    assert _shown(kept, "u-8", "job:2") == []
    assert _shown(kept, "u-7", "job:1", tenant="globex") == []


def test_what_is_old_is_neither_shown_nor_kept() -> None:
    time = _Time()
    kept = LastSignals(time)
    kept.keep("acme", (1, "job:1", "p"), chunk(b"old"))
    time.now += KEPT_SECONDS + 1
    assert _shown(kept, "u-7", "job:1") == []
    kept.keep("acme", (1, "job:2", "p"), chunk(b"new"))
    assert list(kept._kept) == [("acme", (1, "job:2", "p"))]
    assert list(kept._names) == [("acme", 1, "job:2")]


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    kept = LastSignals(_Time(), max_bytes=25)
    for number in range(50):
        kept.keep("acme", (1, "job:1", f"n{number}"), chunk(b"x" * 10))
    assert [name for _, (_, _, name) in kept._kept] == ["n48", "n49"]
    assert kept._bytes == 20
