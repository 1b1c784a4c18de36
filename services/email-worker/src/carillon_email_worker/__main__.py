"""`python -m carillon_email_worker`: deliver the e-mail channel."""

from functools import partial

from carillon_shared.lifecycle import run
from carillon_shared.settings import load_settings
from carillon_shared.telemetry.logging import configure_logging

from carillon_email_worker.app import run_email_worker
from carillon_email_worker.settings import EmailSettings


def main() -> None:
    """Read settings and run until a signal."""
    settings = load_settings(EmailSettings)
    configure_logging("email-worker", level=settings.log_level, log_format=settings.log_format)
    run(partial(run_email_worker, settings))


if __name__ == "__main__":
    main()
