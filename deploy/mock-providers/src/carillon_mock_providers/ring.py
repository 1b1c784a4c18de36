"""A bounded log of numbered records, searchable by recipient."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

_number = attrgetter("n")
_time = attrgetter("received_at")


class Numbered(Protocol):
    """What a record needs to be kept here."""

    n: int
    received_at: float
    recipients: tuple[str, ...]


R = TypeVar("R", bound=Numbered)


class RecipientRing(Generic[R]):
    """Keeps the latest `capacity` records; the oldest leave first. Numbers rise by one from 1."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._records: deque[R] = deque()
        self._by_recipient: dict[str, list[R]] = {}
        self._next = 1
        self.appended = 0

    def __len__(self) -> int:
        return len(self._records)

    def next_number(self) -> int:
        """The number for the record appended next."""
        return self._next

    def append(self, record: R) -> None:
        """Adds a record numbered with `next_number`."""
        if len(self._records) >= self._capacity:
            self._forget_oldest()
        self._next += 1
        self.appended += 1
        self._records.append(record)
        for recipient in record.recipients:
            # Taken out and put back, so that the last key is the recipient heard of last.
            known = self._by_recipient.pop(recipient, None)
            self._by_recipient[recipient] = [record] if known is None else known
            if known is not None:
                known.append(record)

    def _forget_oldest(self) -> None:
        oldest = self._records.popleft()
        for recipient in oldest.recipients:
            known = self._by_recipient[recipient]
            known.pop(0)
            if not known:
                del self._by_recipient[recipient]

    def clear(self) -> int:
        """Forgets all records, keeps counting numbers; returns how many there were."""
        count = len(self._records)
        self._records.clear()
        self._by_recipient.clear()
        self.appended = 0
        return count

    def get(self, n: int) -> R | None:
        """The record with this number, if it is still kept."""
        if not self._records or not self._records[0].n <= n <= self._records[-1].n:
            return None
        return self._records[n - self._records[0].n]

    def count(self, recipient: str | None = None) -> int:
        """How many records are kept, in all, for a recipient or for a glob of recipients."""
        return len(self._records) if recipient is None else len(self._of(recipient))

    def page(self, *, recipient: str | None = None, since: str | None = None, limit: int) -> list[R]:
        """Records in the order of arrival: the first `limit` after `since`, else the last `limit`.

        Args:
            recipient: an address, or a glob over addresses.
            since: a record's number, or an ISO 8601 time; what came later is meant.
            limit: how many at most.

        Raises:
            ValueError: when `since` is neither.
        """
        records = self._records if recipient is None else self._of(recipient)
        start = max(0, len(records) - limit) if since is None else _position_after(records, since)
        return list(islice(records, start, start + limit))

    def recipients(self, *, containing: str = "", limit: int) -> Iterator[tuple[str, Sequence[R]]]:
        """Recipients and their records, the one heard of last first."""
        wanted = containing.lower()
        matching = ((who, self._by_recipient[who]) for who in reversed(self._by_recipient) if wanted in who)
        return islice(matching, limit)

    def recipient_count(self) -> int:
        """How many recipients have records."""
        return len(self._by_recipient)

    def _of(self, recipient: str) -> Sequence[R]:
        wanted = recipient.lower()
        if not any(mark in wanted for mark in "*?["):
            return self._by_recipient.get(wanted, ())
        return [r for r in self._records if any(fnmatchcase(who, wanted) for who in r.recipients)]


def _position_after(records: Sequence[Numbered], since: str) -> int:
    if since.isdigit():
        return bisect_right(records, int(since), key=_number)
    moment = datetime.fromisoformat(since)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return bisect_right(records, aware.timestamp(), key=_time)


class SourceWindow(Generic[R]):
    """Lets the full sources of older records go, so that memory stays bounded."""

    def __init__(self, capacity: int, drop: Callable[[R], None]) -> None:
        self._capacity = capacity
        self._drop = drop
        self._records: deque[R] = deque()

    def append(self, record: R) -> None:
        """Notes a record with its source; the oldest one loses its own when the window is full."""
        self._records.append(record)
        if len(self._records) > self._capacity:
            self._drop(self._records.popleft())

    def clear(self) -> None:
        """Forgets all."""
        self._records.clear()


def iso_time(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds of a POSIX time in seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
