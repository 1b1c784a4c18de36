"""Dead letters of the fake; what is asked for is done at once."""

from collections import Counter
from typing import Any

from carillon_client.ids import new_id
from carillon_client.testing import showing
from carillon_client.testing.answering import (
    Asked,
    Refused,
    Said,
    invalid,
    not_found,
    only,
    page,
    text_of,
    time_of,
)
from carillon_client.testing.event_routes import found_delivery
from carillon_client.testing.planning import attempt, rendered
from carillon_client.testing.state import FakeDelivery, State, now

_FILTER = ("channel", "event_type", "reason", "provider", "since", "until", "ids")
_ASKED = ("filter", "all", "dry_run", "rate_per_second", "reason", "overrides")


def list_dead_letters(state: State, asked: Asked) -> Said:
    """`GET /v1/admin/dead-letters`."""
    rows = sorted(_dead(state, dict(asked.query)), key=lambda row: row.updated_at, reverse=True)
    return page(rows, asked, showing.dead_letter)


def count_dead_letters(state: State, asked: Asked) -> Said:
    """`GET /v1/admin/dead-letters:count`."""
    by_reason = Counter(row.reason for row in _dead(state, dict(asked.query)))
    return Said(200, {"total": by_reason.total(), "by_reason": dict(by_reason)})


def get_dead_letter(state: State, _asked: Asked, delivery: str) -> Said:
    """`GET /v1/admin/dead-letters/{id}`."""
    row = state.deliveries.get(delivery)
    if row is None or row.status != "dead":
        raise not_found("dead letter")
    preview = {"rendered": rendered(row), "error": None}
    return Said(200, showing.dead_letter(row) | {"preview": preview})


def replay(state: State, asked: Asked) -> Said:
    """`POST /v1/admin/dead-letters:replay`."""
    return _operate(state, asked, "replay")


def discard(state: State, asked: Asked) -> Said:
    """`POST /v1/admin/dead-letters:discard`."""
    return _operate(state, asked, "discard")


def retry_delivery(state: State, asked: Asked, delivery: str) -> Said:
    """`POST /v1/deliveries/{id}/retry`."""
    row = found_delivery(state, delivery)
    if row.status != "dead":
        raise Refused(409, "not-dead", f"The delivery is {row.status}; only a dead one can be retried.")
    body = {"filter": {"ids": [row.id]}, "reason": (asked.body or {}).get("reason") or "retry"}
    return _operate(state, Asked({}, body), "replay")


def get_operation(state: State, _asked: Asked, operation: str) -> Said:
    """`GET` or `DELETE /v1/admin/operations/{id}`: it is over already."""
    found = state.operations.get(operation)
    if found is None:
        raise not_found("operation")
    return Said(200, found)


def _operate(state: State, asked: Asked, verb: str) -> Said:
    body = only(asked.body, *_ASKED)
    wanted = only(body.get("filter", {}), *_FILTER)
    if not wanted and not body.get("all"):
        raise invalid("", 'an empty filter means everything: say so with "all": true')
    dry = bool(body.get("dry_run"))
    if not body.get("reason") and not dry:
        raise invalid("", "a reason is needed")
    rows = _dead(state, wanted)
    if dry:
        return Said(200, {"matched": len(rows), "acted": len(rows), "skipped": {}, "complete": True})
    address = ((body.get("overrides") or {}).get("address") or {}).values()
    for row in rows:
        if verb == "replay":
            attempt(state, row, address=next(iter(address), None))
        else:
            row.status, row.reason, row.updated_at = "discarded", "discarded", now()
    operation = _done(verb, body, wanted, len(rows))
    state.operations[operation["id"]] = operation
    return Said(202, {"operation_id": operation["id"], "matched": len(rows)})


def _done(verb: str, body: dict[str, Any], wanted: dict[str, Any], count: int) -> dict[str, Any]:
    at = text_of(now())
    return {
        "id": new_id(),
        "kind": verb,
        "status": "done",
        "filter": wanted,
        "overrides": body.get("overrides"),
        "reason": body["reason"],
        "actor": "fake",
        "rate_per_second": body.get("rate_per_second", 250),
        "matched": count,
        "acted": count,
        "skipped": {},
        "dry_run": False,
        "report": None,
        "percent": 100.0,
        "error": None,
        **dict.fromkeys(("created_at", "updated_at", "ended_at"), at),
    }


def _dead(state: State, wanted: dict[str, Any]) -> list[FakeDelivery]:
    since, until, ids = time_of(wanted.get("since")), time_of(wanted.get("until")), wanted.get("ids")
    return [
        row
        for row in state.deliveries.values()
        if row.status == "dead"
        and wanted.get("channel", row.channel) == row.channel
        and wanted.get("event_type", row.event.type) == row.event.type
        and wanted.get("reason", row.reason) == row.reason
        and wanted.get("provider", "fake") == "fake"
        and (since is None or row.updated_at >= since)
        and (until is None or row.updated_at < until)
        and (ids is None or row.id in ids)
    ]
