"""The Python client agrees with itself and with the description of the API."""

import inspect
import json
import pickle
import subprocess
import sys
from typing import Any

import carillon_client
import pytest
from carillon_client import AsyncCarillon, Carillon, DeadLetterFilter, Event, NotReachableError, Problem
from carillon_client.answers import Decided, SignalAccepted
from carillon_client.call import Answer, Call
from carillon_client.errors import error_of
from carillon_client.people import Member
from carillon_client.requests import events, inbox, operators, people
from support.source_tree import ROOT

API: Any = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
SCHEMAS = API["components"]["schemas"]
NAMES = {
    "Accepted": "AcceptedEvent",
    "StoredEvent": "Event",
    "Decided": "ApprovalDecided",
    "DryRun": "carillon_api__operators__models__DryRun",
}
SHARED = [Decided, Member, SignalAccepted] + [
    model
    for name in carillon_client.__all__
    if isinstance(model := getattr(carillon_client, name), type) and issubclass(model, Answer)
]
OF_THE_STREAM = {"ItemState", "Notification", "Ready", "Reset", "Signal", "Update"}
ID = "0198c7a2-0000-7000-8000-000000000001"
CALLS: list[Call[Any]] = [
    events.send(Event("a"), source="/"),
    events.get_event(ID),
    events.list_events(type="a", status=None, since=None, until=None),
    events.cancel_event(ID),
    events.decide(ID, "approve", reason=None),
    events.decide(ID, "reject", reason="no"),
    events.get_delivery(ID),
    events.list_deliveries(event=ID, subscriber="u", channel="email", status="sent"),
    events.retry_delivery(ID, reason=None),
    events.cancel_delivery(ID, reason=None),
    events.signal("a", None, users=["u"], topics=[]),
    people.put("u", email=None, phone=None, locale=None, time_zone=None, attributes=None),
    people.put_many([{"id": "u"}]),
    people.get_subscriber("u"),
    people.list_subscribers(),
    people.delete("u", erase=True),
    people.token("u", topics=[], seconds=60),
    people.list_members("roles", "r"),
    people.list_members("topics", "t"),
    people.member("PUT", "roles", "r", "u"),
    people.member("DELETE", "topics", "t", "u"),
    operators.list_dead_letters(
        DeadLetterFilter(channel="email", event_type="a", reason="poison", provider="p")
    ),
    operators.count(DeadLetterFilter()),
    operators.get_dead_letter(ID),
    operators.operate("replay", DeadLetterFilter(), everything=True, reason="r", rate_per_second=1),
    operators.try_out("discard", DeadLetterFilter(), everything=True),
    operators.get_operation(ID),
    operators.stop_operation(ID),
    inbox.list_items(filter="all", category="c", type="t"),
    inbox.counts(),
    inbox.change(ID, {"read": True}),
    inbox.delete(ID),
    inbox.mark_all("read-all"),
    inbox.mark_all("seen-all"),
    inbox.mark_all("archive-read"),
    inbox.change_many([ID], {"read": True}),
]


def _route(call: Call[Any]) -> Any:
    """Return the operation that a call goes to."""
    parts = call.request.path.split("/")
    for path, methods in API["paths"].items():
        known = path.split("/")
        if len(known) == len(parts) and all(
            one == other or one.startswith("{") for one, other in zip(known, parts, strict=True)
        ):
            found = methods.get(call.request.method.lower())
            if found is not None:
                return found
    raise AssertionError(f"there is no {call.request.method} {call.request.path}")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.request.method} {call.request.path}")
def test_every_call_goes_to_a_route_and_asks_for_what_it_takes(call: Call[Any]) -> None:
    taken = {each["name"] for each in _route(call).get("parameters", []) if each["in"] == "query"}
    assert {name for name, _ in call.request.query} <= taken


@pytest.mark.parametrize(
    "model",
    [model for model in SHARED if model.__name__ not in OF_THE_STREAM],
    ids=lambda model: model.__name__,
)
def test_an_answer_has_the_members_that_the_api_describes(model: type[Answer]) -> None:
    described = SCHEMAS[NAMES.get(model.__name__, model.__name__)]
    assert set(model.model_fields) == set(described["properties"])


def test_the_body_of_an_event_has_the_members_that_the_api_describes() -> None:
    described = set(SCHEMAS["EventBody"]["properties"])
    ours = {name for name in Event.__dataclass_fields__ if not name.startswith("_")}
    in_the_audience = {"users", "roles", "topics", "everyone", "exclude"}
    assert in_the_audience == set(SCHEMAS["Audience"]["properties"])
    assert (ours - in_the_audience) | {"audience"} == described


def test_the_blocking_client_is_what_is_written_from_the_other() -> None:
    command = [sys.executable, str(ROOT / "clients/python/make_blocking.py"), "--check"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - our own script
    assert (done.returncode, done.stderr) == (0, ""), "run `python clients/python/make_blocking.py`"


def test_both_clients_have_the_same_methods() -> None:
    assert _methods(AsyncCarillon("http://x")) == _methods(Carillon("http://x"))


def _methods(client: object) -> set[str]:
    names = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
    found = {names.get(name, name) for name, _ in inspect.getmembers(type(client), inspect.isfunction)}
    for name, part in vars(client).items():
        if not name.startswith("_"):
            found |= {f"{name}.{method}" for method, _ in inspect.getmembers(type(part), inspect.isfunction)}
    return found


def test_errors_cross_process_boundaries() -> None:
    refused = error_of(Problem("urn:carillon:problem:conflict", "Taken.", 409, members={"event_id": ID}))
    for error in (refused, NotReachableError("ConnectError", False)):  # noqa: FBT003 - as it is raised
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copy), str(copy), copy.outcome_unknown) == (
            type(error),
            str(error),
            error.outcome_unknown,
        )
