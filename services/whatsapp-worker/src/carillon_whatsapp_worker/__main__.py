"""`python -m carillon_whatsapp_worker`: deliver the WhatsApp channel."""

from functools import partial

from carillon_shared.lifecycle import run
from carillon_shared.settings import load_settings
from carillon_shared.telemetry.logging import configure_logging

from carillon_whatsapp_worker.app import run_whatsapp_worker
from carillon_whatsapp_worker.settings import WhatsappSettings


def main() -> None:
    """Read settings and run until a signal."""
    settings = load_settings(WhatsappSettings)
    configure_logging("whatsapp-worker", level=settings.log_level, log_format=settings.log_format)
    run(partial(run_whatsapp_worker, settings))


if __name__ == "__main__":
    main()
