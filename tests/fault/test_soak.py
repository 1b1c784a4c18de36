"""A short soak: whatever comes, in whatever order, nothing is lost and nothing doubled (F42)."""

import secrets
import sys
from pathlib import Path

import pytest
from soak.run import soak

SECONDS = 40.0


@pytest.mark.extended
@pytest.mark.timeout(600)
async def test_a_random_storm_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = secrets.randbelow(1_000_000)
    with capsys.disabled():
        sys.stderr.write(f"\nsoak with SEED={seed}\n")
    outcome = await soak(seconds=SECONDS, seed=seed, logs=tmp_path, say=lambda _: None)
    assert not outcome.problems, str(outcome)
