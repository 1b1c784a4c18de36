"""A feed and its changes: every change has the next number, and a stream goes on after any of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from carillon_client.ids import new_id

STATES = ("seen_at", "read_at", "archived_at", "snoozed_until")


@dataclass(slots=True)
class Item:
    """One item. `attention`: the number under which it was new."""

    shown: dict[str, Any]
    seq: int
    attention: int
    deleted: bool = False

    @property
    def hidden(self) -> bool:
        """True when it is in no count."""
        snoozed = self.shown["snoozed_until"]
        asleep = snoozed is not None and datetime.fromisoformat(snoozed) > datetime.now(UTC)
        return self.deleted or asleep or self.shown["archived_at"] is not None

    def as_json(self) -> dict[str, Any]:
        """Return the item as it is read."""
        return {**self.shown, "seq": self.seq}

    def state(self) -> dict[str, Any]:
        """Return what an update says of it."""
        if self.deleted:
            return {"id": self.shown["id"], "deleted": True}
        words = {name: self.shown[f"{name}_at"] is not None for name in ("read", "seen", "archived")}
        return {
            "id": self.shown["id"],
            "seq": self.seq,
            **words,
            **{name: self.shown[name] for name in STATES},
        }


@dataclass(slots=True)
class Feed:
    """One person's."""

    items: dict[str, Item] = field(default_factory=dict)  # oldest first
    seq: int = 0
    marks: list[tuple[int, str]] = field(default_factory=list)  # number, and what all items became

    def counts(self) -> dict[str, int]:
        """Return the badge numbers."""
        shown = [item.shown for item in self.items.values() if not item.hidden]
        unread = sum(1 for item in shown if item["read_at"] is None)
        unseen = sum(1 for item in shown if item["seen_at"] is None)
        return {"unread": unread, "unseen": unseen, "seq": self.seq}

    def add(self, **item: Any) -> None:
        """Add an item as the newest."""
        self.seq += 1
        shown = {"id": new_id(), "priority": "normal", **item, "created_at": _now()}
        shown |= dict.fromkeys(STATES)
        self.items[shown["id"]] = Item(shown, self.seq, self.seq)

    def change(self, ids: Sequence[str], wanted: Mapping[str, Any]) -> list[Item]:
        """Change items, as one change of the feed; return those that are there."""
        found = [item for each in ids if (item := self.items.get(each)) is not None and not item.deleted]
        changed = [item for item in found if _apply(item, wanted)]
        if changed:
            self.seq += 1
            for item in changed:
                item.seq = self.seq
        return found

    def mark_all(self, word: str) -> None:
        """Make everything `read` (and so seen) or `seen`."""
        for item in self.items.values():
            _apply(item, {word: True})
        self.seq += 1
        self.marks.append((self.seq, word))

    def listed(self, kept: str) -> list[Item]:
        """Return the items of a filter, newest first."""
        there = [item for item in reversed(self.items.values()) if not item.deleted]
        if kept == "archived":
            return [item for item in there if item.shown["archived_at"] is not None]
        if kept == "snoozed":
            return [item for item in there if item.hidden and item.shown["archived_at"] is None]
        missing = {"unread": "read_at", "unseen": "seen_at"}.get(kept)
        return [
            item for item in there if not item.hidden and (missing is None or item.shown[missing] is None)
        ]

    def frames(self, cursor: int) -> Iterator[bytes]:
        """Yield the changes after a number, each item as it is now; only the last of a number has the id."""
        counts = self.counts()
        later = sorted((item for item in self.items.values() if item.seq > cursor), key=lambda item: item.seq)
        changes: dict[int, list[tuple[str, dict[str, Any]]]] = {}
        for seq, items in groupby(later, key=lambda item: item.seq):
            changes[seq] = _parts(list(items), cursor)
        for seq, word in self.marks:
            if seq > cursor:
                changes.setdefault(seq, []).append(("update", {"all": {word: True}}))
        for seq in sorted(changes):
            for place, (event, data) in enumerate(changes[seq], start=1):
                last = seq if place == len(changes[seq]) else None
                yield frame(event, {**data, "counts": counts}, seq=last)


def frame(event: str, data: Any, *, seq: int | None = None) -> bytes:
    """Return one frame of an event stream."""
    start = "" if seq is None else f"id: {seq}\n"
    return f"{start}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def _parts(items: list[Item], cursor: int) -> list[tuple[str, dict[str, Any]]]:
    new = [item for item in items if item.attention > cursor and not item.deleted]
    rest = [item.state() for item in items if item not in new]
    parts: list[tuple[str, dict[str, Any]]] = [("notification", {"item": item.as_json()}) for item in new]
    return [*parts, ("update", {"items": rest})] if rest else parts


def _apply(item: Item, wanted: Mapping[str, Any]) -> bool:
    """Change one item; tell whether anything is different now."""
    before = (dict(item.shown), item.deleted)
    item.deleted = bool(wanted.get("deleted", False))
    for word in ("read", "seen", "archived"):
        if word in wanted:
            was = item.shown[f"{word}_at"]
            item.shown[f"{word}_at"] = (was or _now()) if wanted[word] else None
    if wanted.get("read"):
        item.shown["seen_at"] = item.shown["seen_at"] or _now()
    if "snoozed_until" in wanted:
        item.shown["snoozed_until"] = wanted["snoozed_until"]
    return (item.shown, item.deleted) != before


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
