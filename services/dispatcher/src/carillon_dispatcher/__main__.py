"""`python -m carillon_dispatcher`."""

from carillon_shared.lifecycle import run
from carillon_shared.settings import load_settings
from carillon_shared.telemetry.logging import configure_logging

from carillon_dispatcher.app import run_dispatcher
from carillon_dispatcher.settings import DispatcherSettings


def main() -> None:
    """Read the settings, then run until told to stop."""
    settings = load_settings(DispatcherSettings)
    configure_logging("dispatcher", level=settings.log_level, log_format=settings.log_format)
    run(lambda shutdown: run_dispatcher(settings, shutdown))


if __name__ == "__main__":
    main()
