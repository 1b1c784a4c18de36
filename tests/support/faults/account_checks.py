"""Rows that must agree with each other, and retries with their policy."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import RESTING_STATUSES
from carillon_shared.retry.policy import RetryPolicy, policy_for
from support.faults.evidence import Evidence, Record
from support.faults.report import Violation

_RESTING = {status.value for status in RESTING_STATUSES}
# A message may be taken up to a second before its time; the rest is for clocks read in different places.
_EARLY_SECONDS = 1.1


def accounts_add_up(evidence: Evidence) -> Iterator[Violation]:
    """I4: attempts, leases, due rows, dead letters and progress agree with the deliveries."""
    yield from _attempts_are_numbered(evidence)
    yield from _nothing_stays_claimed(evidence)
    yield from _dead_letters_match(evidence)
    yield from _progress_adds_up(evidence)


def _attempts_are_numbered(evidence: Evidence) -> Iterator[Violation]:
    attempts = evidence.by_delivery("attempts")
    for row in evidence.tables["deliveries"]:
        numbers = [attempt["number"] for attempt in attempts.get(row["id"], ())]
        if numbers != list(range(1, row["attempt"] + 1)):
            yield Violation(
                "I4", str(row["id"]), f"attempt {row['attempt']} with attempts {numbers} written down"
            )


def _nothing_stays_claimed(evidence: Evidence) -> Iterator[Violation]:
    for lease in evidence.tables["leases"]:
        yield Violation(
            "I4", str(lease["token"]), f"lease of {len(lease['delivery_ids'])} deliveries is left"
        )
    resting = {row["id"] for row in evidence.tables["deliveries"] if row["status"] in _RESTING}
    for due in evidence.tables["due"]:
        if due["delivery_id"] in resting:
            yield Violation("I4", str(due["delivery_id"]), f"at rest, and still due ({due['kind']})")


def _dead_letters_match(evidence: Evidence) -> Iterator[Violation]:
    dead = {row["id"]: row["attempt"] for row in evidence.tables["deliveries"] if row["status"] == "dead"}
    letters = {row["delivery_id"]: row["attempt"] for row in evidence.tables["dead_letters"]}
    for delivery in sorted(dead.keys() - letters.keys()):
        yield Violation("I4", str(delivery), "dead, and no dead letter")
    for delivery in sorted(letters.keys() - dead.keys()):
        yield Violation("I4", str(delivery), "dead letter of what is not dead")
    for delivery in sorted(dead.keys() & letters.keys()):
        if dead[delivery] != letters[delivery]:
            yield Violation("I4", str(delivery), "dead letter of another attempt")


def _progress_adds_up(evidence: Evidence) -> Iterator[Violation]:
    rows: dict[object, Counter[str]] = {}
    for row in evidence.tables["deliveries"]:
        rows.setdefault(row["event_id"], Counter())[row["status"]] += 1
    for event, shown in evidence.progress.items():
        counted = rows.get(event, Counter())
        if shown is None:
            yield Violation("I4", str(event), "the API does not know an accepted event")
        elif shown["progress"]["by_status"] != counted or shown["progress"]["total"] != counted.total():
            yield Violation("I4", str(event), "progress is not what the rows say")


def retries_follow_policy(evidence: Evidence) -> Iterator[Violation]:
    """I5: no more attempts than a budget has, and none before its time."""
    kinds = {(row["tenant_id"], row["name"]): row["retry"] for row in evidence.tables["event_types"]}
    attempts = evidence.by_delivery("attempts")
    for row in evidence.tables["deliveries"]:
        policy = policy_for(kinds.get((row["tenant_id"], row["type"]), {}), Channel(row["channel"]))
        made = [one for one in attempts.get(row["id"], ()) if one["number"] > row["budget_start"]]
        if len(made) > policy.max_attempts:
            yield Violation(
                "I5", str(row["id"]), f"{len(made)} attempts where {policy.max_attempts} are allowed"
            )
        yield from _too_early(row, made, policy)


def _too_early(row: Record, made: list[Record], policy: RetryPolicy) -> Iterator[Violation]:
    for earlier, later in pairwise(made):
        if earlier["outcome"] != "retry" or earlier["ended_at"] is None:
            continue
        least = policy.delay_after(earlier["number"] - row["budget_start"], uniform=min) or 0.0
        waited = (later["started_at"] - earlier["ended_at"]).total_seconds()
        if waited < least - _EARLY_SECONDS:
            text = f"attempt {later['number']} after {waited:.1f} s instead of {least:.1f} s"
            yield Violation("I5", str(row["id"]), text)
