"""A bad day: one recipient's mail server fails, and the delivery waits among the dead letters."""

from collections.abc import Sequence
from typing import Any

from carillon_cli.api import MissingError
from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Sent, Stage

_ATTEMPTS = 2


async def dead_letter(stage: Stage) -> Sequence[Check]:
    """Send `report.ready` to an address whose server answers with an error each time."""
    (sent,) = await stage.send(stage.examples.event("report.ready"))
    dead = await stage.delivery(sent, "unlucky", "email", status="dead", reason="retries_exhausted")
    return [dead, await _dead_letter(stage, sent)]


async def _dead_letter(stage: Stage, sent: Sent) -> Check:
    what = "dead letter, ready to be replayed"
    deliveries = await stage.deliveries(sent)
    if not deliveries:
        return Check(what, passed=False, detail="there is no delivery")
    try:
        found: dict[str, Any] = await stage.api.get(f"/v1/admin/dead-letters/{deliveries[0]['id']}")
    except MissingError:
        return Check(what, passed=False, detail="it is not among the dead letters")
    outcomes = [attempt["outcome"] for attempt in found["attempts"]]
    detail = f"{len(outcomes)} attempts, last error: {found['error']}"
    passed = found["reason"] == "retries_exhausted" and outcomes == ["retry"] * _ATTEMPTS
    return Check(what, passed, detail, sent.milliseconds())
