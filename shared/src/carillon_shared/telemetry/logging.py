"""One log format for our own lines and for those of every library, written to standard output."""

import logging
import sys
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from carillon_shared.telemetry.masking import mask_value

LogFormat = Literal["json", "console"]

# The broker session logs one line for each change of a connection, with its reason; these two would repeat
# every attempt with a traceback.
_QUIET = ("aiormq", "aio_pika")
# They install handlers of their own, which would print each line a second time in another form.
_CAPTURED = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncpg", "asyncio")
_OWN_KEYS = frozenset({"_record", "_from_structlog"})


def configure_logging(service: str, *, level: str = "INFO", log_format: LogFormat = "json") -> None:
    """Send everything logged in this process to standard output, masked, one line per record.

    `log_format` is `json` (one object a line, times ISO 8601 in UTC) or `console` (for a person).
    """
    shared = _shared_processors(service)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, _wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_formatter(shared, log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _tame_libraries()


def mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every value of a log event; a structlog processor. Runs after exceptions have become text."""
    for key, value in event.items():
        if key not in _OWN_KEYS:
            event[key] = mask_value(value)
    return event


_wrap_for_formatter = structlog.stdlib.ProcessorFormatter.wrap_for_formatter


def _shared_processors(service: str) -> list[Processor]:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        add_service,
    ]


def _formatter(shared: list[Processor], log_format: LogFormat) -> logging.Formatter:
    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.processors.format_exc_info,
            mask_event,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )


def _to_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _tame_libraries() -> None:
    for name in _CAPTURED:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
