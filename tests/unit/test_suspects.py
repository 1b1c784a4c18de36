"""Messages that came back often are handled one at a time, in an order nobody can foresee."""

import random
from typing import Any

import pytest
from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.suspects import SUSPECT_AFTER, in_safe_order, with_head_start


def _came(tag: int, count: Any) -> Incoming:
    return Incoming(
        body=b"",
        type=None,
        message_id=None,
        headers={"x-delivery-count": count},
        exchange="",
        routing_key="",
        redelivered=bool(count),
        published_at=None,
        delivery_tag=tag,
        generation=1,
    )


class Line:
    """Messages that have arrived after the first ones were taken."""

    def __init__(self, *waiting: Incoming) -> None:
        self.waiting = list(waiting)

    async def get_batch(self, limit: int, *, wait: float | None = None) -> list[Incoming]:
        assert wait == 0
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken


def _tags(groups: Any) -> list[list[int]]:
    return [[one.delivery_tag for one in group] for group in groups]


def test_what_is_above_suspicion_stays_together_and_goes_first() -> None:
    batch = [_came(1, SUSPECT_AFTER), _came(2, 0), _came(3, SUSPECT_AFTER - 1), _came(4, "many")]
    assert _tags(in_safe_order(batch)) == [[2, 3, 4], [1]]


def test_every_suspect_is_alone_and_comes_first_at_some_time() -> None:
    random.seed(3)
    batch = [_came(tag, SUSPECT_AFTER + tag) for tag in range(5)]
    orders = [_tags(in_safe_order(batch)) for _ in range(100)]
    assert all(sorted(order) == [[0], [1], [2], [3], [4]] for order in orders)
    assert {order[0][0] for order in orders} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("count", "limit", "taken", "left"), [(SUSPECT_AFTER, 10, 3, 0), (SUSPECT_AFTER, 2, 2, 1), (0, 10, 1, 2)]
)
async def test_the_order_is_drawn_among_all_that_have_arrived(
    count: int, limit: int, taken: int, left: int
) -> None:
    line = Line(_came(2, SUSPECT_AFTER), _came(3, SUSPECT_AFTER))
    batch = await with_head_start(line, [_came(1, count)], limit=limit)  # type: ignore[arg-type]  # a source in miniature
    assert (len(batch), len(line.waiting)) == (taken, left)
