import json
import subprocess
import sys
from datetime import datetime
from typing import Any

_PROGRAM = """
import logging, structlog
from carillon_shared.telemetry.logging import configure_logging
configure_logging("email-worker", level="INFO", log_format={form!r})
structlog.contextvars.bind_contextvars(event_id="e-1")
log = structlog.get_logger("carillon.test")
log.info("sent", to="anna@example.org", nested={{"phones": ["+12025550147"]}})
log.debug("too quiet")
try:
    raise ValueError("bad address anna@example.org")
except ValueError:
    log.exception("failed")
logging.getLogger("uvicorn.error").info("listening for %s", "bob@example.org")
logging.getLogger("asyncpg").warning("gone")
logging.getLogger("aiormq.connection").warning("a broker attempt")
"""


def _run(form: str) -> list[str]:
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", _PROGRAM.format(form=form)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def _events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in _run("json")]


def test_every_line_is_one_masked_json_object_with_a_utc_time() -> None:
    events = _events()
    assert [event["event"] for event in events] == ["sent", "failed", "listening for b***@e***.org", "gone"]
    for event in events:
        assert event["service"] == "email-worker"
        assert event["event_id"] == "e-1"
        assert event["timestamp"].endswith("Z")
        assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
        assert "anna@" not in json.dumps(event)
        assert "0147" not in json.dumps(event)


def test_values_keep_their_structure() -> None:
    assert _events()[0]["nested"] == {"phones": ["+12***47"]}


def test_exceptions_are_told_with_their_traceback() -> None:
    failed = _events()[1]
    assert failed["level"] == "error"
    assert "Traceback" in failed["exception"]
    assert "bad address a***@e***.org" in failed["exception"]


def test_the_console_form_is_masked_too() -> None:
    text = "\n".join(_run("console"))
    assert "a***@e***.org" in text
    assert "anna@" not in text
