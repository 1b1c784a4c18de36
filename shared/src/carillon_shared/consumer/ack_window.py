"""Turns settlements in any order into the fewest acknowledgements that are safe."""

from enum import Enum, auto

from carillon_shared.broker.incoming import Settlements
from carillon_shared.consumer.settlement import Ack, DeadLetter, Settlement


class _State(Enum):
    OPEN = auto()  # being handled
    DONE = auto()  # handled, the broker does not know yet
    GONE = auto()  # told to the broker on its own, while an older one was open


class AckWindow:
    """The delivery tags of one broker channel, from the oldest that is open.

    `ack(multiple)` accepts everything below its tag, so it is used only up to the highest tag below which
    everything is settled; what finishes above that is told singly. The tag of an `ack(multiple)` must itself
    be open on the broker, or RabbitMQ closes the channel.
    """

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}  # ascending
        self._highest = 0
        self._done: list[int] = []
        self._dead_lettered: list[int] = []
        self._requeued: list[int] = []

    def __len__(self) -> int:
        return len(self._states)

    def receive(self, tag: int) -> None:
        """Add a message. Raises ``ValueError`` when its tag is not above all before it."""
        if tag <= self._highest:
            raise ValueError(f"delivery tag {tag} came after {self._highest}")
        self._highest = tag
        self._states[tag] = _State.OPEN

    def settle(self, tag: int, settlement: Settlement) -> None:
        """Note how it ended. Raises ``ValueError`` when it is not open: never here, or settled twice."""
        if self._states.get(tag) is not _State.OPEN:
            raise ValueError(f"delivery tag {tag} is not open")
        if isinstance(settlement, Ack):
            self._states[tag] = _State.DONE
            self._done.append(tag)
            return
        self._states[tag] = _State.GONE
        (self._dead_lettered if isinstance(settlement, DeadLetter) else self._requeued).append(tag)

    def take(self) -> Settlements:
        """Return what to tell the broker now, and take it as told."""
        up_to = self._advance()
        singles = tuple(tag for tag in self._done if tag in self._states)
        for tag in singles:
            self._states[tag] = _State.GONE
        told = Settlements(up_to, singles, tuple(self._dead_lettered), tuple(self._requeued))
        self._done, self._dead_lettered, self._requeued = [], [], []
        return told

    def _advance(self) -> int | None:
        """Forget the settled beginning; return the highest tag in it that the broker still has."""
        settled: list[int] = []
        up_to = None
        for tag, state in self._states.items():
            if state is _State.OPEN:
                break
            settled.append(tag)
            up_to = tag if state is _State.DONE else up_to
        for tag in settled:
            del self._states[tag]
        return up_to
