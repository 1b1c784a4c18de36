"""Nothing lost, nothing unexpected, nothing doubled."""

from collections import Counter
from collections.abc import Iterator

from carillon_shared.domain.states import RESTING_STATUSES
from support.faults.evidence import Evidence, Received, Record
from support.faults.ledger import Accepted
from support.faults.report import Violation

_RESTING = {status.value for status in RESTING_STATUSES}
_GONE_OUT = {"sent", "delivered", "read"}


def nothing_lost(evidence: Evidence) -> Iterator[Violation]:
    """I1: each accepted event has its row, each expected pair one delivery at rest, each sent one arrived."""
    events = {row["id"]: row for row in evidence.tables["events"]}
    of_event: dict[object, list[Record]] = {}
    for row in evidence.tables["deliveries"]:
        of_event.setdefault(row["event_id"], []).append(row)
    for one in evidence.accepted().values():
        event = events.get(one.event)
        if event is None:
            yield Violation("I1", str(one.event), "accepted event has no row")
            continue
        yield from _deliveries_lost(one, event, of_event.get(one.event, []))
    yield from _sent_without_trace(evidence)


def _deliveries_lost(one: Accepted, event: Record, rows: list[Record]) -> Iterator[Violation]:
    found = {(row["person"], row["channel"]): row for row in rows}
    # Cancelled before planning is one decision, on the event (promise P2).
    may_be_missing = one.asked_to_cancel and event["status"] == "cancelled"
    for person, channel in sorted(one.pairs - found.keys()):
        if not may_be_missing:
            yield Violation("I1", f"{one.event} {person}/{channel}", "expected delivery has no row")
    for row in found.values():
        if row["status"] not in _RESTING:
            yield Violation("I1", str(row["id"]), f"delivery is not at rest: {row['status']}")
        elif row["status"] == "cancelled" and not one.asked_to_cancel:
            yield Violation("I1", str(row["id"]), "delivery cancelled, and nobody asked for it")


def _sent_without_trace(evidence: Evidence) -> Iterator[Violation]:
    received = evidence.received_of()
    items = {row["id"] for row in evidence.tables["feed_items"]}
    for row in evidence.tables["deliveries"]:
        if row["status"] in _GONE_OUT:
            there = row["id"] in items if row["channel"] == "inapp" else str(row["id"]) in received
            if not there:
                yield Violation(
                    "I1", str(row["id"]), f"{row['status']} over {row['channel']}, and nobody has it"
                )


def nothing_unexpected(evidence: Evidence) -> Iterator[Violation]:
    """I2: whatever went out was asked for, is of this tenant, and went to the person it was for."""
    accepted = evidence.accepted()
    yield from _unknown_events(evidence)
    for row in evidence.tables["deliveries"]:
        one = accepted.get(row["event_id"])
        if one is not None and (row["person"], row["channel"]) not in one.pairs:
            yield Violation("I2", str(row["id"]), "delivery that nobody asked for")
    deliveries = {str(row["id"]): row for row in evidence.tables["deliveries"]}
    addresses = {row[name] for row in deliveries.values() for name in ("email", "phone") if row[name]}
    unknown = {row["delivery_id"] for row in evidence.tables["attempts"] if row["outcome"] == "unknown"}
    for got in evidence.received:
        found = deliveries.get(got.reference)
        if found is None:
            if _address(got) in addresses:
                yield Violation("I2", got.reference, "a provider got what is no delivery of this tenant")
        elif _address(got) != found["email" if got.channel == "email" else "phone"]:
            yield Violation("I2", got.reference, "went to another person")
        elif found["status"] not in _GONE_OUT and found["id"] not in unknown:
            yield Violation("I2", got.reference, f"a provider got what is {found['status']}")
    for item in evidence.tables["feed_items"]:
        found = deliveries.get(str(item["id"]))
        if found is None or found["status"] not in _GONE_OUT:
            yield Violation("I2", str(item["id"]), "feed item without a delivery that was delivered")


def _unknown_events(evidence: Evidence) -> Iterator[Violation]:
    accepted = evidence.accepted()
    unanswered = {own for ledger in evidence.ledgers for own in ledger.unanswered}
    for row in evidence.tables["events"]:
        if row["id"] not in accepted and row["external_id"] not in unanswered:
            yield Violation("I2", str(row["id"]), "event that no producer was told of")


def _address(got: Received) -> str:
    return got.to if got.channel == "email" else f"+{got.to.lstrip('+')}"


def no_dishonest_doubles(evidence: Evidence) -> Iterator[Violation]:
    """I3: what a provider took twice has an attempt of unknown outcome; at_most_once types never do."""
    at_most_once = {
        (row["tenant_id"], row["name"])
        for row in evidence.tables["event_types"]
        if row["on_unknown"] == "at_most_once"
    }
    unknowns = Counter(
        row["delivery_id"] for row in evidence.tables["attempts"] if row["outcome"] == "unknown"
    )
    received = evidence.received_of()
    for row in evidence.tables["deliveries"]:
        times = len(received.get(str(row["id"]), ()))
        if times <= 1:
            continue
        # An operator who replays decides for themselves.
        if (row["tenant_id"], row["type"]) in at_most_once and not row["budget_start"]:
            yield Violation("I3", str(row["id"]), f"at_most_once, and sent {times} times")
        elif times > 1 + unknowns[row["id"]]:
            yield Violation(
                "I3", str(row["id"]), f"sent {times} times with {unknowns[row['id']]} unknown attempts"
            )
