"""`python -m carillon_inapp_worker`: deliver the in-app channel."""

from functools import partial

from carillon_shared.lifecycle import run
from carillon_shared.service import Service
from carillon_shared.settings import load_settings
from carillon_shared.telemetry.logging import configure_logging

from carillon_inapp_worker.app import run_inapp_worker
from carillon_inapp_worker.settings import InappWorkerSettings


def main() -> None:
    """Read settings and run until a signal."""
    settings = load_settings(InappWorkerSettings)
    configure_logging("inapp-worker", level=settings.log_level, log_format=settings.log_format)
    run(partial(run_inapp_worker, Service.of(settings)))


if __name__ == "__main__":
    main()
