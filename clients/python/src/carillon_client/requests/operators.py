"""Dead letters and operations."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from carillon_client.call import Call, Page, Request, get, listing, place, query_of, writing
from carillon_client.dead_letters import (
    DeadLetter,
    DeadLetterCount,
    DeadLetterDetail,
    DeadLetterFilter,
    DryRun,
    Operation,
    OperationStarted,
)

_PATH = "/v1/admin/dead-letters"


def list_dead_letters(wanted: DeadLetterFilter) -> Call[Page[DeadLetter]]:
    """Read dead letters, newest first."""
    return listing(_PATH, DeadLetter, query=_without_ids(wanted))


def count(wanted: DeadLetterFilter) -> Call[DeadLetterCount]:
    """Count by reason."""
    return Call(
        Request("GET", f"{_PATH}:count", query_of(_without_ids(wanted))), DeadLetterCount.model_validate
    )


def get_dead_letter(delivery: UUID | str) -> Call[DeadLetterDetail]:
    """Read one, with what it would say."""
    return get(place("admin", "dead-letters", delivery), DeadLetterDetail)


def operate(
    verb: str,
    wanted: DeadLetterFilter,
    *,
    everything: bool,
    reason: str,
    rate_per_second: int | None,
    overrides: Mapping[str, Any] | None = None,
) -> Call[OperationStarted]:
    """Replay or discard. A repeat would be a second operation: sent again only if it never arrived."""
    body = _body(wanted, everything=everything) | {"reason": reason}
    body |= {"rate_per_second": rate_per_second} if rate_per_second is not None else {}
    body |= {"overrides": dict(overrides)} if overrides is not None else {}
    return writing("POST", f"{_PATH}:{verb}", OperationStarted, body=body, repeatable=False)


def try_out(verb: str, wanted: DeadLetterFilter, *, everything: bool) -> Call[DryRun]:
    """Ask what a replay or discard would do."""
    body = _body(wanted, everything=everything) | {"dry_run": True}
    return writing("POST", f"{_PATH}:{verb}", DryRun, body=body)


def get_operation(operation: UUID | str) -> Call[Operation]:
    """Read how far an operation is."""
    return get(place("admin", "operations", operation), Operation)


def stop_operation(operation: UUID | str) -> Call[Operation]:
    """Stop an operation. Repeating it changes nothing."""
    return writing("DELETE", place("admin", "operations", operation), Operation)


def _body(wanted: DeadLetterFilter, *, everything: bool) -> dict[str, Any]:
    return {"filter": wanted.chosen()} | ({"all": True} if everything else {})


def _without_ids(wanted: DeadLetterFilter) -> dict[str, Any]:
    """Return the parameters of a query. Raises ``ValueError`` for ids, which queries do not take."""
    if wanted.ids is not None:
        raise ValueError("lists and counts take no ids; read each by dead_letters.get()")
    return wanted.chosen()
