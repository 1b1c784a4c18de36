"""`carillon tail`."""

import contextlib
import json
from datetime import datetime
from typing import Annotated, Any

import typer
from httpx2 import ServerSentEvent

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.failures import ExitCode
from carillon_cli.feed_stream import FeedStream
from carillon_cli.output import JsonFlag, print_line


def tail(
    user: Annotated[str, typer.Option("--user", help="The subscriber whose stream to follow.")],
    topics: Annotated[str, typer.Option(help="Topics whose signals to show, with commas between.")] = "",
    last_event_id: Annotated[
        str | None, typer.Option(help="Begin after this feed sequence; 0 shows what is kept.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Follow a person's stream until Ctrl-C: notifications, updates and signals as they happen."""
    wanted = [topic for topic in topics.split(",") if topic]

    async def follow(api: Api) -> None:
        shown = 0
        stream = FeedStream(api, user, topics=wanted, last_event_id=last_event_id)
        async with contextlib.aclosing(stream.frames()) as frames:
            async for frame in frames:
                print_line(_json_line(frame) if as_json else _line(frame))
                shown += frame.event != "ready"
                if shown == count:
                    return

    try:
        with_api(follow)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.DONE) from None


def _json_line(frame: ServerSentEvent) -> str:
    event = {"event": frame.event, "id": frame.id or None, "data": json.loads(frame.data)}
    return json.dumps(event, ensure_ascii=False)


def _line(frame: ServerSentEvent) -> str:
    data: dict[str, Any] = json.loads(frame.data)
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    return " ".join(f"{now}  {frame.event:<12}  {_said(frame.event, data)}".split("\n")).rstrip()


def _said(event: str, data: dict[str, Any]) -> str:
    counts = data.get("counts") or {}
    unread = f"  ({counts['unread']} unread)" if "unread" in counts else ""
    if event == "notification":
        item = data["item"]
        return f"{item['title']}: {item['body']}{unread}"
    if event == "signal":
        return f"{data['name']} {json.dumps(data['data'], ensure_ascii=False)}"
    changed = {name: value for name, value in data.items() if name != "counts"}
    return f"{json.dumps(changed, ensure_ascii=False) if changed else 'connected'}{unread}"
