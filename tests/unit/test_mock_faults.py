import pytest
from carillon_mock_providers.faults import (
    SIMULATORS,
    Channel,
    Fault,
    FaultPlan,
    FaultRule,
    Simulator,
    simulated_fault,
)


def plan(*rules: FaultRule, seed: int = 0) -> FaultPlan:
    made = FaultPlan(seed=seed, simulators=True, retry_failures=2)
    made.replace(rules)
    return made


def faults(
    made: FaultPlan, recipient: str, calls: int, channel: Channel = Channel.SMTP
) -> list[Fault | None]:
    decisions = [made.decide(channel=channel, recipient=recipient) for _ in range(calls)]
    return [None if decision is None else decision.fault for decision in decisions]


@pytest.mark.parametrize("simulator", SIMULATORS, ids=lambda simulator: simulator.fault)
def test_a_simulator_acts_by_mail_and_by_phone(simulator: Simulator) -> None:
    assert simulated_fault(Channel.WHATSAPP, f"9768{simulator.phone_suffix}") is simulator.fault
    if simulator.local_part:
        assert simulated_fault(Channel.SMTP, f"{simulator.local_part}@x.example") is simulator.fault
        assert simulated_fault(Channel.SMTP, f"{simulator.local_part}+17@x.example") is simulator.fault


@pytest.mark.parametrize("recipient", ["bouncer@x.example", "bat@bounce.example", "not-bounce@x.example"])
def test_ordinary_recipients_are_no_simulators(recipient: str) -> None:
    assert plan().decide(channel=Channel.SMTP, recipient=recipient) is None


def test_simulators_can_be_switched_off() -> None:
    made = FaultPlan(seed=0, simulators=False, retry_failures=2)
    assert made.decide(channel=Channel.SMTP, recipient="reject@x.example") is None


def test_retry_refuses_twice_then_accepts_then_begins_again() -> None:
    retry = Fault.RETRY
    assert faults(plan(), "Retry@x.example", 6) == [retry, retry, None, retry, retry, None]


def test_times_counts_for_each_recipient() -> None:
    made = plan(FaultRule(fault=Fault.REJECT, times=1))
    assert faults(made, "a@x.example", 3) == [Fault.REJECT, None, None]
    assert faults(made, "b@x.example", 2) == [Fault.REJECT, None]


def test_times_can_count_for_the_whole_rule() -> None:
    made = plan(FaultRule(fault=Fault.REJECT, times=2, scope="rule"))
    assert faults(made, "a@x.example", 1) == [Fault.REJECT]
    assert faults(made, "b@x.example", 2) == [Fault.REJECT, None]


def test_the_first_rule_that_fires_decides_and_rules_come_before_simulators() -> None:
    made = plan(
        FaultRule(fault=Fault.SLOW, match="a@*", times=1, delay_seconds=3.0),
        FaultRule(fault=Fault.HANG, match="*@x.example", channel=Channel.SMTP),
    )
    first = made.decide(channel=Channel.SMTP, recipient="A@x.example")
    assert first is not None
    assert (first.fault, first.delay_seconds) == (Fault.SLOW, 3.0)
    assert faults(made, "reject@x.example", 1) == [Fault.HANG]
    assert faults(made, "97688112233", 1, Channel.WHATSAPP) == [None]


def test_a_rate_is_met_and_repeatable_in_any_order() -> None:
    rule = FaultRule(fault=Fault.REJECT, rate=0.3)
    people = [f"p{n}@x.example" for n in range(2000)]
    forward, backward, other = plan(rule), plan(rule), plan(rule, seed=7)
    hit = {who for who in people if faults(forward, who, 1) == [Fault.REJECT]}
    assert hit == {who for who in reversed(people) if faults(backward, who, 1) == [Fault.REJECT]}
    assert hit != {who for who in people if faults(other, who, 1) == [Fault.REJECT]}
    assert 520 < len(hit) < 680


def test_replacing_rules_starts_every_count_again() -> None:
    rule = FaultRule(fault=Fault.REJECT, times=1)
    made = plan(rule)
    assert faults(made, "a@x.example", 2) == [Fault.REJECT, None]
    made.replace((rule,))
    assert faults(made, "a@x.example", 1) == [Fault.REJECT]
