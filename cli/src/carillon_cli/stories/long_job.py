"""Long job: its progress shows live and is kept nowhere; its end is a notification."""

import asyncio
import time
from collections.abc import Sequence

from carillon_cli.stories.checks import Check
from carillon_cli.stories.listening import Heard, Listener
from carillon_cli.stories.stage import Stage, together

_STEPS = (20, 40, 60, 80, 100)
# Signals of one name reach a client ten times a second at most, and the newest wins.
_STEP_SECONDS = 0.15


async def long_job(stage: Stage) -> Sequence[Check]:
    """Send progress as signals, then `job.completed` and, of another job, `job.failed`."""
    async with stage.listen("chimeg") as chimeg:
        progress = await _progress(stage, chimeg)
        (done,) = await stage.send(stage.examples.event("job.completed"))
        (failed,) = await stage.send(stage.examples.event("job.failed"))
        return [
            progress,
            *await together(
                stage.feed(done, chimeg, "Contact import is done", "12,480 rows"),
                stage.mail(done, "chimeg@acme.example", "Contact import is done"),
                stage.feed(failed, chimeg, "Nightly export has failed", "The disk is full."),
                stage.mail(failed, "chimeg@acme.example", "Nightly export has failed"),
            ),
        ]


async def _progress(stage: Stage, listener: Listener) -> Check:
    job = f"imp-{stage.examples.run}"
    example = stage.examples.read("job.progress.signal")

    def of_this_job(heard: Heard) -> bool:
        return heard.event == "signal" and heard.data["data"]["job_id"] == job

    for step in _STEPS:
        sent = time.monotonic()
        data = example["data"] | {"job_id": job, "current": step, "percentage": step}
        await stage.api.post("/v1/signals", example | {"data": data})
        await asyncio.sleep(_STEP_SECONDS)
    last = await listener.wait_for(
        lambda heard: of_this_job(heard) and heard.data["data"]["percentage"] == _STEPS[-1],
        seconds=stage.patience,
    )
    seen = [heard.data["data"]["percentage"] for heard in listener.heard(of_this_job)]
    passed = last is not None and seen == sorted(seen)
    took = None if last is None else (last.at - sent) * 1000
    shown = ", ".join(f"{percentage} %" for percentage in seen) or "nothing"
    return Check(f"progress on the stream of {listener.user}", passed, shown, took)
