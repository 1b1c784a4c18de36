import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_api.intake.group_commit import GroupCommit, LineFullError
from carillon_api.intake.rows import IntakeRow, Key, Result, Stored
from carillon_api.intake.store import RowsRefusedError, StoreUnavailableError, TryAgainError


def _row(identifier: str, *, body: bytes = b"a", tenant: int = 1, type_name: str = "message") -> IntakeRow:
    return IntakeRow(
        key=Key(tenant, "/", identifier),
        body_hash=body * 32,
        tenant="acme",
        type=type_name,
        category="general",
        lane="normal",
        channels="{email}",
        subject=None,
        time=None,
        data="{}",
        audience="{}",
        inline_users=None,
        actor=None,
        deliver_at=None,
        expires_at=None,
        traceparent=None,
        throttle=None,
    )


class _Store:
    """Keeps keys as the database does; can be made to wait, to fail and to refuse rows."""

    def __init__(self) -> None:
        self.kept: dict[Key, tuple[bytes, UUID]] = {}
        self.groups: list[list[str]] = []
        self.errors: list[Exception] = []
        self.offenders: set[str] = set()
        self.loses_answer = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def accept(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        self.groups.append([row.key.id for row in rows])
        self.entered.set()
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if any(row.key.id in self.offenders for row in rows):
            raise RowsRefusedError("an offender")
        assert len({row.key for row in rows}) == len(rows), "a key twice"
        answers = [self._accept(row) for row in rows]
        if self.loses_answer:
            self.loses_answer = False
            raise StoreUnavailableError("the link broke", maybe_stored=True)
        return answers

    async def close(self) -> None:
        return

    def _accept(self, row: IntakeRow) -> Stored:
        if row.key not in self.kept:
            self.kept[row.key] = (row.body_hash, uuid4())
            return Stored(Result.ACCEPTED, self.kept[row.key][1])
        body_hash, event_id = self.kept[row.key]
        return Stored(Result.DUPLICATE if body_hash == row.body_hash else Result.CONFLICT, event_id)


@asynccontextmanager
async def _running(store: _Store, **options: Any) -> AsyncIterator[GroupCommit]:
    group_commit = GroupCommit(store, **({"max_waiting": 1_000} | options))
    task = asyncio.create_task(group_commit.run())
    try:
        yield group_commit
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _first_waits(store: _Store, group_commit: GroupCommit) -> "asyncio.Task[list[Stored]]":
    """Hand in one row and return when its flush is under way and held up."""
    store.gate.clear()
    task = asyncio.create_task(group_commit.submit([_row("first")]))
    await store.entered.wait()
    return task


def _results(answers: list[list[Stored]]) -> list[str]:
    return [stored.result.value for answer in answers for stored in answer]


async def test_an_event_alone_is_flushed_at_once() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        (stored,) = await group_commit.submit([_row("1")])
    assert stored.result is Result.ACCEPTED
    assert store.groups == [["1"]]


async def test_what_arrives_during_a_flush_makes_the_next_group_in_the_order_it_came() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        first = await _first_waits(store, group_commit)
        others = [asyncio.create_task(group_commit.submit([_row(name)])) for name in "cab"]
        await asyncio.sleep(0)
        store.gate.set()
        await asyncio.gather(first, *others)
    assert store.groups == [["first"], ["c", "a", "b"]]


async def test_a_group_has_a_largest_size() -> None:
    store = _Store()
    async with _running(store, max_group=3) as group_commit:
        first = await _first_waits(store, group_commit)
        others = [
            asyncio.create_task(group_commit.submit([_row(f"{n}-1"), _row(f"{n}-2")])) for n in range(3)
        ]
        await asyncio.sleep(0)
        store.gate.set()
        await asyncio.gather(first, *others)
    assert [len(group) for group in store.groups] == [1, 2, 2, 2]


async def test_one_key_with_one_body_in_a_group_is_one_event() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        first = await _first_waits(store, group_commit)
        twins = [asyncio.create_task(group_commit.submit([_row("x")])) for _ in range(3)]
        await asyncio.sleep(0)
        store.gate.set()
        answers = await asyncio.gather(*twins)
        await first
    assert _results(answers) == ["accepted", "duplicate", "duplicate"]
    assert len({answer[0].event_id for answer in answers}) == 1


async def test_one_key_with_two_bodies_in_a_group_is_a_conflict_for_the_second() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        answers = await group_commit.submit([_row("x", body=b"a"), _row("x", body=b"b")])
    assert _results([answers]) == ["accepted", "conflict"]


async def test_a_body_that_was_stored_before_is_a_duplicate_behind_one_that_conflicts() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        await group_commit.submit([_row("x", body=b"a")])
        answers = await group_commit.submit([_row("x", body=b"b"), _row("x", body=b"a")])
    assert _results([answers]) == ["conflict", "duplicate"]


async def test_the_same_id_of_two_tenants_is_two_events() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        answers = await group_commit.submit([_row("x", tenant=1), _row("x", tenant=2)])
    assert _results([answers]) == ["accepted", "accepted"]


async def test_only_the_offender_of_a_group_is_refused() -> None:
    store = _Store()
    store.offenders = {"5"}
    async with _running(store) as group_commit:
        answers = await group_commit.submit([_row(str(n)) for n in range(9)])
    assert _results([answers]) == ["accepted"] * 5 + ["refused"] + ["accepted"] * 3


async def test_a_deadlock_is_tried_again() -> None:
    store = _Store()
    store.errors = [TryAgainError("40P01"), TryAgainError("40P01")]
    async with _running(store) as group_commit:
        answers = await group_commit.submit([_row("1")])
    assert _results([answers]) == ["accepted"]


async def test_deadlocks_without_end_are_given_up() -> None:
    store = _Store()
    store.errors = [TryAgainError("40P01") for _ in range(100)]
    async with _running(store) as group_commit:
        with pytest.raises(StoreUnavailableError):
            await group_commit.submit([_row("1")])


async def test_an_unknown_outcome_is_asked_again_and_stores_nothing_twice() -> None:
    store = _Store()
    store.loses_answer = True
    async with _running(store) as group_commit:
        answers = await group_commit.submit([_row("1")])
    assert _results([answers]) == ["duplicate"]
    assert len(store.kept) == 1


async def test_a_database_that_is_away_refuses_the_group_and_all_who_wait() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        first = await _first_waits(store, group_commit)
        second = asyncio.create_task(group_commit.submit([_row("second")]))
        await asyncio.sleep(0)
        store.errors = [StoreUnavailableError("away", maybe_stored=False)]
        store.gate.set()
        answers = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2
        assert _results([await group_commit.submit([_row("third")])]) == ["accepted"], "it goes on"


async def test_a_fault_of_ours_ends_its_requests_and_not_the_loop() -> None:
    store = _Store()
    store.errors = [RuntimeError("a mistake")]
    async with _running(store) as group_commit:
        with pytest.raises(RuntimeError, match="a mistake"):
            await group_commit.submit([_row("1")])
        assert _results([await group_commit.submit([_row("2")])]) == ["accepted"]


async def test_the_line_is_bounded() -> None:
    store = _Store()
    async with _running(store, max_waiting=2) as group_commit:
        first = await _first_waits(store, group_commit)
        second = asyncio.create_task(group_commit.submit([_row("2"), _row("3")]))
        await asyncio.sleep(0)
        with pytest.raises(LineFullError):
            await group_commit.submit([_row("4")])
        store.gate.set()
        await asyncio.gather(first, second)


async def test_drained_waits_for_what_is_under_way() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        first = await _first_waits(store, group_commit)
        drained = asyncio.create_task(group_commit.drained())
        await asyncio.sleep(0)
        assert not drained.done()
        store.gate.set()
        await drained
        assert first.done()


async def test_those_who_wait_when_it_stops_are_told() -> None:
    store = _Store()
    async with _running(store) as group_commit:
        first = await _first_waits(store, group_commit)
    with pytest.raises(StoreUnavailableError) as told:
        await first
    assert told.value.maybe_stored
