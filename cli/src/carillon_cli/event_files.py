"""Events in files: one JSON object, or a list of them; plain or CloudEvents."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from carillon_cli.failures import NothingMatchedError, WrongUseError

BATCH = 1_000
"""Events the API takes in one request."""

_BATCH_BYTES = 3_000_000  # below the API's 4 MiB, whatever it counts
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS = "application/cloudevents-batch+json"


def read_events(source: str) -> list[dict[str, Any]]:
    """Return the events of a file, or of standard input for `-`.

    Raises:
        NothingMatchedError: when there is no such file, or no event in it.
        WrongUseError: when it holds anything but events in JSON.
    """
    text = sys.stdin.read() if source == "-" else _text_of(Path(source))
    name = "standard input" if source == "-" else source
    try:
        content = json.loads(text)
    except ValueError as error:
        raise WrongUseError(f"{name} is not JSON: {error}") from error
    events = content if isinstance(content, list) else [content]
    if not all(isinstance(event, dict) for event in events):
        raise WrongUseError(f"{name}: an event is a JSON object")
    if not events:
        raise NothingMatchedError(f"{name} has no event in it")
    return events


def batches(events: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut events into requests of at most 1,000 events and 3 MB."""
    batch: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = len(json.dumps(event, ensure_ascii=False).encode())
        if batch and (len(batch) == BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch


def content_type(events: Sequence[dict[str, Any]], *, single: bool) -> str:
    """Return the media type of events: CloudEvents when all say so. Raises `WrongUseError` for a mixture."""
    kinds = {"specversion" in event for event in events}
    if kinds == {True}:
        return CLOUDEVENT if single else CLOUDEVENTS
    if kinds == {False}:
        return "application/json"
    raise WrongUseError("Plain events and CloudEvents cannot be sent in one file.")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NothingMatchedError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUseError(f"{path} cannot be read: {error}") from error
