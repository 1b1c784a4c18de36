"""Short soaks: whatever comes, in whatever order, nothing is lost and nothing doubled (F42)."""

import secrets
import sys
from pathlib import Path

import pytest
from soak.run import soak

FIXED_SEED = 11


async def _passes(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, seconds: float, seed: int) -> None:
    with capsys.disabled():
        sys.stderr.write(f"\nsoak with SEED={seed}\n")
    outcome = await soak(seconds=seconds, seed=seed, logs=tmp_path, say=lambda _: None)
    assert not outcome.problems, str(outcome)


@pytest.mark.timeout(300)
async def test_a_storm_of_known_seed_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await _passes(tmp_path, capsys, seconds=15.0, seed=FIXED_SEED)


@pytest.mark.extended
@pytest.mark.timeout(600)
async def test_a_random_storm_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await _passes(tmp_path, capsys, seconds=40.0, seed=secrets.randbelow(1_000_000))
