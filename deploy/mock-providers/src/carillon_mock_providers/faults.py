"""Which calls go wrong, and how: simulator recipients and runtime rules.

The draw for a rule with a rate depends only on the seed, the rule, the recipient and how many calls that
recipient has made, so a run is repeatable however its calls interleave.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_TWIN_DIGITS = 7


class Channel(StrEnum):
    """The providers played."""

    SMTP = "smtp"
    WHATSAPP = "whatsapp"
    RESEND = "resend"
    TWILIO = "twilio"


class Fault(StrEnum):
    """What can go wrong with one call to a provider."""

    BOUNCE = "bounce"
    SLOW = "slow"
    REJECT = "reject"
    TIMEOUT = "timeout"
    RETRY = "retry"
    RATE_LIMITED = "rate_limited"
    RESET = "reset"
    DUPLICATE = "duplicate"
    HANG = "hang"
    SERVER_ERROR = "server_error"
    LOST_REPLY = "lost_reply"
    HOLD = "hold"
    OUT_OF_ORDER = "out_of_order"
    READ_ONLY = "read_only"
    EARLY_STATUS = "early_status"
    GARBAGE = "garbage"


class Garbage(StrEnum):
    """What an answer that cannot be read looks like; its status is one of success."""

    NOISE = "noise"  # bytes that are no answer at all
    HALF = "half"  # the beginning of a good answer, then the end of the connection
    PAGE = "page"  # the HTML page of some gateway on the way


REFUSALS = frozenset({Fault.REJECT, Fault.RETRY, Fault.RATE_LIMITED, Fault.SERVER_ERROR})
"""Faults that answer with an error and keep nothing."""


@dataclass(frozen=True, slots=True)
class Simulator:
    """A recipient that always behaves the same way: a mail local part and the last digits of a phone."""

    local_part: str | None
    phone_suffix: str
    fault: Fault


SIMULATORS = (
    Simulator("bounce", "9990001", Fault.BOUNCE),
    Simulator("slow", "9990002", Fault.SLOW),
    Simulator("reject", "9990003", Fault.REJECT),
    Simulator("timeout", "9990004", Fault.TIMEOUT),
    Simulator("retry", "9990005", Fault.RETRY),
    Simulator("429", "9990006", Fault.RATE_LIMITED),
    Simulator("reset", "9990007", Fault.RESET),
    Simulator("duplicate", "9990008", Fault.DUPLICATE),
    Simulator("hang", "9990009", Fault.HANG),
    Simulator("500", "9990010", Fault.SERVER_ERROR),
    Simulator("lostreply", "9990011", Fault.LOST_REPLY),
    Simulator("hold", "9990012", Fault.HOLD),
    Simulator(None, "9990013", Fault.OUT_OF_ORDER),
    Simulator(None, "9990014", Fault.READ_ONLY),
    Simulator(None, "9990015", Fault.EARLY_STATUS),
)

_BY_LOCAL_PART = {simulator.local_part: simulator.fault for simulator in SIMULATORS if simulator.local_part}
_BY_PHONE_SUFFIX = {simulator.phone_suffix: simulator.fault for simulator in SIMULATORS}


class FaultRule(BaseModel):
    """A rule put at run time; the first rule that fires decides, simulators come after all rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: Fault
    channel: Channel | None = Field(None, description="None is every one.")
    match: str = Field("*", description="Glob over the mail address or the digits of the phone.")
    rate: float = Field(1.0, ge=0, le=1, description="Share of the matching calls that go wrong.")
    times: int | None = Field(None, ge=1, description="Only the first N; None is without end.")
    scope: Literal["recipient", "rule"] = Field("recipient", description="What `times` counts for.")
    delay_seconds: float | None = Field(None, ge=0, description="How late `slow` answers or a bounce comes.")
    code: int | None = Field(None, description="Reply code: WhatsApp error code, or SMTP code 400-599.")
    retry_after: int | None = Field(None, ge=0, description="`Retry-After` of a refusal over HTTP, in s.")
    garbage: Garbage = Field(Garbage.NOISE, description="What `garbage` answers.")
    keep: bool = Field(
        default=True,
        description="`hold`: whether the message is accepted on arrival or on release; "
        "`garbage`: whether it is accepted at all.",
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one call."""

    fault: Fault
    delay_seconds: float | None = None
    code: int | None = None
    keep: bool = True
    retry_after: int | None = None
    garbage: Garbage = Garbage.NOISE


class FaultPlan:
    """Decides call by call; remembers how often each rule and each retry simulator was met."""

    def __init__(self, *, seed: int, simulators: bool, retry_failures: int) -> None:
        self.seed = seed
        self.rules: tuple[FaultRule, ...] = ()
        self._simulators = simulators
        self._retry_failures = retry_failures
        self._calls: Counter[tuple[int, str]] = Counter()
        self._fired: Counter[tuple[int, str]] = Counter()
        self._retries: Counter[tuple[Channel, str]] = Counter()

    def replace(self, rules: tuple[FaultRule, ...], *, seed: int | None = None) -> None:
        """Puts these rules in the place of all others and starts every count again."""
        self.rules = rules
        self.seed = self.seed if seed is None else seed
        self._calls.clear()
        self._fired.clear()
        self._retries.clear()

    def decide(self, *, channel: Channel, recipient: str) -> Decision | None:
        """The fault for this call, or None when it is to go well."""
        person = recipient.lower()
        for index, rule in enumerate(self.rules):
            if rule.channel not in (None, channel) or not fnmatchcase(person, rule.match.lower()):
                continue
            if self._fires(index, rule, person):
                return Decision(
                    rule.fault,
                    delay_seconds=rule.delay_seconds,
                    code=rule.code,
                    keep=rule.keep,
                    retry_after=rule.retry_after,
                    garbage=rule.garbage,
                )
        return self._simulated(channel, person) if self._simulators else None

    def _fires(self, index: int, rule: FaultRule, person: str) -> bool:
        scope = (index, person if rule.scope == "recipient" else "")
        if rule.times is not None and self._fired[scope] >= rule.times:
            return False
        if rule.rate < 1:
            calls = (index, person)
            self._calls[calls] += 1
            if draw(f"{self.seed}:{index}:{person}:{self._calls[calls]}") >= rule.rate:
                return False
        if rule.times is not None:
            self._fired[scope] += 1
        return True

    def _simulated(self, channel: Channel, person: str) -> Decision | None:
        fault = simulated_fault(channel, person)
        if fault is None:
            return None
        if fault is Fault.RETRY:
            self._retries[channel, person] += 1
            if self._retries[channel, person] % (self._retry_failures + 1) == 0:
                return None
        return Decision(fault)


def simulated_fault(channel: Channel, person: str) -> Fault | None:
    """The fault of a simulator recipient; ``bounce+17@any.domain`` is one too."""
    if channel in {Channel.WHATSAPP, Channel.TWILIO}:
        return _BY_PHONE_SUFFIX.get(person[-_TWIN_DIGITS:])
    return _BY_LOCAL_PART.get(person.partition("@")[0].partition("+")[0])


def draw(text: str) -> float:
    """A repeatable number in [0, 1) for this text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
