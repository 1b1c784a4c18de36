import pytest
from carillon_shared.broker import Settlements
from carillon_shared.consumer import Ack, AckWindow, DeadLetter, Requeue, Settlement
from hypothesis import given
from hypothesis import strategies as st

SETTLEMENTS: list[Settlement] = [Ack(), DeadLetter("no"), Requeue()]


class BrokerChannel:
    """RabbitMQ's book-keeping of one channel: refuses tags that are not open."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.acked: set[int] = set()
        self.rejected: set[int] = set()

    def apply(self, told: Settlements) -> None:
        for tag in [*told.dead_lettered, *told.requeued]:
            self._close(tag)
            self.rejected.add(tag)
        for tag in told.singles:
            self._close(tag)
            self.acked.add(tag)
        if told.up_to is not None:
            assert told.up_to in self.open, f"unknown delivery tag {told.up_to}"
            covered = {tag for tag in self.open if tag <= told.up_to}
            self.acked |= covered
            self.open -= covered

    def _close(self, tag: int) -> None:
        assert tag in self.open, f"unknown delivery tag {tag}"
        self.open.remove(tag)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["receive", "settle", "tell"]), st.integers(0, 9), st.sampled_from(SETTLEMENTS)
    ),
    max_size=80,
)


@given(STEPS)
def test_every_order_of_settling_tells_the_broker_exactly_what_was_settled(
    steps: list[tuple[str, int, Settlement]],
) -> None:
    window, channel = AckWindow(), BrokerChannel()
    open_tags: list[int] = []
    settled: dict[int, Settlement] = {}
    for step, which, how in steps:
        if step == "receive":
            tag = len(settled) + len(open_tags) + 1
            window.receive(tag)
            channel.open.add(tag)
            open_tags.append(tag)
        elif step == "settle" and open_tags:
            tag = open_tags.pop(which % len(open_tags))
            settled[tag] = how
            window.settle(tag, how)
        elif step == "tell":
            channel.apply(window.take())
            assert channel.open == set(open_tags)
    for tag in open_tags:
        settled[tag] = Ack()
        window.settle(tag, Ack())
    channel.apply(window.take())

    assert channel.acked == {tag for tag, how in settled.items() if how == Ack()}
    assert channel.rejected == settled.keys() - channel.acked
    assert not channel.open
    assert len(window) == 0


def test_a_settled_beginning_is_one_ack() -> None:
    window = _received(5)
    for tag in (2, 1, 3):
        window.settle(tag, Ack())
    assert window.take() == Settlements(up_to=3)


def test_what_is_settled_above_an_open_message_is_acked_singly() -> None:
    window = _received(5)
    for tag in (1, 3, 5):
        window.settle(tag, Ack())
    assert window.take() == Settlements(up_to=1, singles=(3, 5))


def test_a_tag_acked_singly_is_never_the_end_of_a_multiple_ack() -> None:
    window = _received(3)
    window.settle(3, Ack())
    assert window.take() == Settlements(singles=(3,))
    window.settle(1, Ack())
    window.settle(2, Ack())
    assert window.take() == Settlements(up_to=2)


def test_a_rejected_tag_is_never_the_end_of_a_multiple_ack() -> None:
    window = _received(2)
    window.settle(1, Ack())
    window.settle(2, DeadLetter("no"))
    assert window.take() == Settlements(up_to=1, dead_lettered=(2,))


def test_nothing_is_told_twice() -> None:
    window = _received(2)
    window.settle(2, Requeue())
    assert window.take()
    assert not window.take()


@pytest.mark.parametrize("tag", [1, 7])
def test_a_message_that_is_not_open_cannot_be_settled(tag: int) -> None:
    window = _received(2)
    window.settle(1, Ack())
    with pytest.raises(ValueError, match=f"tag {tag} is not open"):
        window.settle(tag, Ack())


def test_tags_must_rise() -> None:
    window = _received(2)
    with pytest.raises(ValueError, match="tag 2 came after 2"):
        window.receive(2)


def _received(count: int) -> AckWindow:
    window = AckWindow()
    for tag in range(1, count + 1):
        window.receive(tag)
    return window
