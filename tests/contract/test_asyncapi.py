"""The committed description of the broker's interface is what the code says, and refers to what exists."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from carillon_shared.contracts.messages import MESSAGE_TYPES
from carillon_shared.topology.__main__ import main
from carillon_shared.topology.asyncapi import asyncapi_document
from carillon_shared.topology.carillon import carillon_topology
from carillon_shared.topology.yaml_text import yaml_text
from hypothesis import given
from hypothesis import strategies as st

COMMITTED = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
TOPOLOGY = carillon_topology()
DOCUMENT = asyncapi_document(TOPOLOGY)


def test_the_committed_document_is_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["asyncapi"]) == 0
    assert COMMITTED.read_text(encoding="utf-8") == capsys.readouterr().out, (
        "run `python -m carillon_shared.topology asyncapi > docs/asyncapi.yaml`"
    )


def test_anything_else_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi"]) == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_what_is_committed_reads_back_as_the_document() -> None:
    assert yaml.safe_load(COMMITTED.read_text(encoding="utf-8")) == DOCUMENT


def test_every_queue_exchange_and_message_is_described() -> None:
    bindings = [channel["bindings"]["amqp"] for channel in DOCUMENT["channels"].values()]
    queues = {binding["queue"]["name"] for binding in bindings if binding["is"] == "queue"}
    exchanges = {binding["exchange"]["name"] for binding in bindings if binding["is"] == "routingKey"}
    assert queues == {queue.name for queue in TOPOLOGY.queues}
    assert exchanges == {exchange.name for exchange in TOPOLOGY.exchanges}
    assert set(DOCUMENT["components"]["messages"]) == set(MESSAGE_TYPES)
    carried = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert carried == set(MESSAGE_TYPES)


def test_every_reference_leads_somewhere() -> None:
    references = list(_references(DOCUMENT))
    assert len(references) > 100
    for reference in references:
        assert reference.startswith("#/")
        place: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in DOCUMENT["channels"].values():
        named = set(channel.get("parameters", {}))
        address = channel["address"] or ""
        assert address.format(**dict.fromkeys(named, "x")).count("{") == 0
        assert all(f"{{{name}}}" in address for name in named)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []


_LINES = st.from_regex(r"\A[a-z:#'\"{} -]*[a-z]\n\n? {0,3}[a-z]+\Z")
_TEXTS = st.sampled_from(
    ["yes", "No", "null", "1", "1.0", "0x1", "", " ", "a: b", "#", "$ref", "~"]
) | st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"
    )
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS | _LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(_TEXTS, _VALUES, min_size=1))
def test_yaml_is_read_back_as_what_was_written(document: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(document)) == document
