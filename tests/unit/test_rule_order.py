"""Stored reasons name the rule that decided, in the order in which rules are asked."""

import pytest
from carillon_api.explanations.words import reason_in_words, step_in_words, summary
from carillon_shared.domain.rules import (
    RULE_OF_HOLD,
    RULE_OF_REASON,
    Rule,
    Verdict,
    decision_of,
    steps_of,
)
from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason


def test_every_reason_and_every_hold_is_explained() -> None:
    assert set(RULE_OF_REASON) == set(Reason)
    assert set(RULE_OF_HOLD) == set(HoldReason)
    assert all(reason_in_words(reason) for reason in Reason)
    for status in DeliveryStatus:
        assert summary(decision_of(status), status, reason=None, hold_reason=None, until=None).endswith(".")


@pytest.mark.parametrize("reason", [reason for reason, rule in RULE_OF_REASON.items() if rule is not None])
def test_rules_before_the_decider_passed_and_those_after_were_not_asked(reason: Reason) -> None:
    steps = steps_of(DeliveryStatus.SKIPPED, reason=reason, hold_reason=None)
    assert [step.rule for step in steps] == list(Rule)
    decider = [step.verdict for step in steps].index(Verdict.SKIP)
    assert steps[decider].rule is RULE_OF_REASON[reason]
    assert {step.verdict for step in steps[:decider]} <= {Verdict.PASSED}
    assert {step.verdict for step in steps[decider + 1 :]} <= {Verdict.NOT_ASKED}
    assert all(step_in_words(step, reason=reason, hold_reason=None) for step in steps)


@pytest.mark.parametrize("hold", list(HoldReason))
def test_a_hold_names_its_rule(hold: HoldReason) -> None:
    steps = steps_of(DeliveryStatus.HELD, reason=None, hold_reason=hold)
    assert [step.rule for step in steps if step.verdict is Verdict.HOLD] == [RULE_OF_HOLD[hold]]


def test_a_full_cap_gathers_and_is_named_as_the_limit_it_is() -> None:
    steps = steps_of(DeliveryStatus.HELD, reason=Reason.FREQUENCY_CAP, hold_reason=HoldReason.DIGEST)
    assert [step.rule for step in steps if step.verdict is Verdict.HOLD] == [Rule.LIMIT]
    assert {step.verdict for step in steps[:-1]} == {Verdict.PASSED}


@pytest.mark.parametrize("status", [DeliveryStatus.DEAD, DeliveryStatus.FAILED, DeliveryStatus.CANCELLED])
def test_what_ended_after_the_rules_had_passed_them_all(status: DeliveryStatus) -> None:
    steps = steps_of(status, reason=Reason.RETRIES_EXHAUSTED, hold_reason=None)
    assert {step.verdict for step in steps} == {Verdict.PASSED}
