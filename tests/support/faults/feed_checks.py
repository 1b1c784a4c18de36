"""Feeds without gaps, counters that are what counting gives, and streams that showed everything once."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from support.faults.evidence import Evidence, Record
from support.faults.listener import FeedListener
from support.faults.report import Violation
from support.waiting import eventually

# A stream finds what it was not told of within half a minute.
_CATCH_UP_SECONDS = 45.0
_MARKS = ("seen_at", "read_at", "archived_at", "snoozed_until", "deleted_at")
_SHOWN = 5


def feeds_have_no_gaps(evidence: Evidence) -> Iterator[Violation]:
    """I9: creations and changes explain every number of a feed, and its counters agree with its items."""
    items: dict[tuple[int, int], list[Record]] = {}
    for row in evidence.tables["feed_items"]:
        items.setdefault((row["tenant_id"], row["subscriber"]), []).append(row)
    feeds = {(row["tenant_id"], row["subscriber"]): row for row in evidence.tables["feeds"]}
    for key in items.keys() - feeds.keys():
        yield Violation("I9", str(key), "items without a feed")
    for key, feed in feeds.items():
        yield from _numbers(feed, items.get(key, []))
        yield from _counters(feed, items.get(key, []))


def _numbers(feed: Record, items: Sequence[Record]) -> Iterator[Violation]:
    who, numbers = str(feed["person"]), [item["seq"] for item in items]
    untouched = not (
        feed["read_all_seq"] or feed["seen_all_seq"] or any(_was_changed(item) for item in items)
    )
    if untouched and sorted(numbers) != list(range(1, feed["seq"] + 1)):
        missing = sorted(set(range(1, feed["seq"] + 1)) - set(numbers))[:_SHOWN]
        doubled = sorted({number for number in numbers if numbers.count(number) > 1})[:_SHOWN]
        yield Violation("I9", who, f"feed at {feed['seq']}: missing {missing}, doubled {doubled}")
    if any(not 1 <= number <= feed["seq"] for number in numbers):
        yield Violation("I9", who, "an item's number is past its feed's")
    created = [item["seq"] for item in items if not _was_changed(item)]
    if len(created) != len(set(created)):
        yield Violation("I9", who, "two items were created under one number")


def _was_changed(item: Record) -> bool:
    return item["seq"] != item["attention_seq"] or any(item[mark] is not None for mark in _MARKS)


def _counters(feed: Record, items: Sequence[Record]) -> Iterator[Violation]:
    put_away = ("archived_at", "snoozed_until", "deleted_at")
    shown = [item for item in items if all(item[mark] is None for mark in put_away)]
    for counter, mark, marker in (
        ("unread", "read_at", "read_all_seq"),
        ("unseen", "seen_at", "seen_all_seq"),
    ):
        counted = sum(item[mark] is None and item["attention_seq"] > feed[marker] for item in shown)
        if counted != feed[counter]:
            yield Violation(
                "I9", str(feed["person"]), f"{counter} is {feed[counter]} where the items say {counted}"
            )


async def listeners_saw_feeds(evidence: Evidence, listeners: Sequence[FeedListener]) -> list[Violation]:
    """I9: whoever listened, with whatever interruptions, has seen each item once and in order."""
    feeds = {(feed["tenant_id"], feed["person"]): feed for feed in evidence.tables["feeds"]}
    found = []
    for listener in listeners:
        feed = feeds.get((listener.tenant.id, listener.person))
        await _caught_up(listener, feed["seq"] if feed else 0)
        items = [
            item["id"]
            for item in evidence.tables["feed_items"]
            if feed and (item["tenant_id"], item["subscriber"]) == (feed["tenant_id"], feed["subscriber"])
        ]
        found += [Violation("I9", listener.person, f"stream: {fault}") for fault in listener.faults]
        # A feed read anew is in the order of accepting, not in that of its numbers.
        seen, there = (sorted(listener.items), sorted(items)) if listener.resets else (listener.items, items)
        if seen != there:
            text = f"stream showed {len(seen)} items, the feed has {len(there)}"
            found.append(Violation("I9", listener.person, text))
    return found


async def _caught_up(listener: FeedListener, seq: int) -> None:
    """Wait until a listener is where its feed is; when it never gets there, the comparison says so."""

    async def look() -> bool:
        return listener.last is not None and listener.last >= seq

    with suppress(AssertionError):
        await eventually(look, seconds=_CATCH_UP_SECONDS, what=f"a stream at {seq}")
