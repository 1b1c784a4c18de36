"""`make soak MINUTES=10 [SEED=...]`: mixed traffic under random faults, and what became of it.

The seed is printed first; the same seed draws the same faults in the same order.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from soak.run import soak


def main() -> int:
    """Return 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults; mending comes on top")
    parser.add_argument("--seed", type=int, default=None, help="draws faults and traffic")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    logs = Path(tempfile.mkdtemp(prefix="carillon-soak-"))
    _say(f"SEED={seed}; logs of the services in {logs}")
    outcome = asyncio.run(soak(seconds=given.minutes * 60, seed=seed, logs=logs, say=_say))
    _say(str(outcome))
    return 1 if outcome.problems else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
