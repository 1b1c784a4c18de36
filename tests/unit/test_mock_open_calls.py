import asyncio

import pytest
from carillon_mock_providers.faults import REFUSALS, Channel, Decision, Fault
from carillon_mock_providers.open_calls import Ending, FaultStage, OpenCalls


class Play:
    """One fault on the stage, and whether the message was taken."""

    def __init__(self, decision: Decision, calls: OpenCalls | None = None) -> None:
        self.calls = calls or OpenCalls()
        self.accepted = 0
        stage = FaultStage(self.calls, slow_seconds=0)
        self.task = asyncio.ensure_future(
            stage.play(decision, channel=Channel.SMTP, recipient="A@x.example", accept=self.accept)
        )

    def accept(self) -> None:
        self.accepted += 1

    async def waits(self) -> bool:
        done, _ = await asyncio.wait({self.task}, timeout=0.02)
        return not done

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.parametrize(
    ("fault", "ending", "accepted"),
    [
        *((fault, Ending.REFUSE, 0) for fault in sorted(REFUSALS)),
        (Fault.RESET, Ending.CUT, 0),
        (Fault.LOST_REPLY, Ending.CUT, 1),
        (Fault.GARBAGE, Ending.GARBAGE, 1),
        (Fault.SLOW, Ending.ANSWER, 1),
        (Fault.BOUNCE, Ending.ANSWER, 1),
        (Fault.DUPLICATE, Ending.ANSWER, 1),
    ],
)
async def test_a_fault_that_ends_a_call(fault: Fault, ending: Ending, accepted: int) -> None:
    play = Play(Decision(fault))
    assert await asyncio.wait_for(play.task, 1) is ending
    assert play.accepted == accepted


@pytest.mark.parametrize(("fault", "accepted"), [(Fault.HANG, 0), (Fault.TIMEOUT, 1), (Fault.HOLD, 1)])
async def test_a_fault_that_answers_nothing(fault: Fault, accepted: int) -> None:
    play = Play(Decision(fault))
    assert await play.waits()
    assert play.accepted == accepted
    await play.end()
    assert play.calls.held_counts() == {"smtp": 0, "whatsapp": 0, "resend": 0, "twilio": 0}


@pytest.mark.parametrize("keep", [True, False])
async def test_a_held_call_goes_on_when_released(*, keep: bool) -> None:
    play = Play(Decision(Fault.HOLD, keep=keep))
    assert await play.waits()
    assert play.accepted == (1 if keep else 0)
    assert play.calls.held_counts() == {"smtp": 1, "whatsapp": 0, "resend": 0, "twilio": 0}
    assert play.calls.release(channel=Channel.WHATSAPP) == 0
    assert play.calls.release(match="b@*") == 0
    assert play.calls.release(match="a@*") == 1
    assert await asyncio.wait_for(play.task, 1) is Ending.ANSWER
    assert play.accepted == 1


def fail_during_a_call(calls: OpenCalls) -> None:
    with calls.call(Channel.SMTP):
        assert calls.counts() == {"smtp": 1, "whatsapp": 0, "resend": 0, "twilio": 0}
        raise RuntimeError("the handler failed")


def test_a_call_that_fails_is_open_no_more() -> None:
    calls = OpenCalls()
    with pytest.raises(RuntimeError, match="the handler failed"):
        fail_during_a_call(calls)
    assert calls.counts() == {"smtp": 0, "whatsapp": 0, "resend": 0, "twilio": 0}
