"""Tenants take turns, wherever something waits."""

from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import event_routing_key, tenant_of_key
from carillon_shared.turns import Turns
from hypothesis import given
from hypothesis import strategies as st

_ADDED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=30)


def _filled(added: list[tuple[str, int]]) -> Turns[tuple[str, int]]:
    turns: Turns[tuple[str, int]] = Turns()
    number = 0
    for tenant, many in added:
        turns.add(tenant, [(tenant, number + n) for n in range(many)])
        number += many
    return turns


@given(_ADDED)
def test_everything_comes_once_and_each_tenants_own_in_order(added: list[tuple[str, int]]) -> None:
    turns = _filled(added)
    taken: list[tuple[str, int]] = []
    while turns:
        taken += turns.take(min(3, len(turns)))
    assert sorted(number for _, number in taken) == list(range(sum(many for _, many in added)))
    for tenant in "abc":
        own = [number for name, number in taken if name == tenant]
        assert own == sorted(own)
        assert turns.waiting(tenant) == 0


@given(_ADDED, st.integers(0, 40))
def test_nobody_gets_two_turns_while_another_waits_for_one(added: list[tuple[str, int]], many: int) -> None:
    turns = _filled(added)
    many = min(many, len(turns))
    wanted = {tenant: turns.waiting(tenant) for tenant in "abc"}
    names = [tenant for tenant, _ in turns.take(many)]
    got = {tenant: names.count(tenant) for tenant in "abc"}
    left_out = [got[tenant] for tenant in "abc" if got[tenant] < wanted[tenant]]
    assert max(got.values()) <= min(left_out, default=many) + 1


def test_only_the_stale_beginning_of_a_line_is_dropped() -> None:
    turns = _filled([("a", 4), ("b", 2)])
    assert turns.drop(lambda one: one[1] in {0, 1, 3, 4, 5}) == 4
    assert (len(turns), turns.waiting("a"), turns.waiting("b")) == (2, 2, 0)
    assert turns.take(2) == [("a", 2), ("a", 3)]


def test_the_tenant_is_read_from_an_events_key() -> None:
    key = event_routing_key(lane=Lane.NORMAL, tenant="acme-1", event_type="order.shipped.late")
    assert tenant_of_key(key) == "acme-1"
    assert tenant_of_key("carillon.dispatch") == "carillon.dispatch"
