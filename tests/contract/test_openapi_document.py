"""docs/openapi.json: the committed description is the code's, and it is whole."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from carillon_api.app import make_app
from carillon_api.description import openapi_text

_COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
_METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(openapi_text(make_app()))
    return loaded


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in _METHODS & operations.keys():
            yield f"{method.upper()} {path}", operations[method]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_the_committed_description_is_that_of_the_code() -> None:
    assert _COMMITTED.read_text() == openapi_text(make_app()), (
        "run `python -m carillon_api openapi > docs/openapi.json`"
    )


def test_it_is_the_same_each_time() -> None:
    assert openapi_text(make_app()) == openapi_text(make_app())


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    missing = {ref for ref in _references(document) if ref.rpartition("/")[2] not in schemas}
    assert not missing


def test_every_operation_has_a_name_of_its_own_a_tag_and_a_summary(document: dict[str, Any]) -> None:
    names = Counter(operation["operationId"] for _, operation in _operations(document))
    assert [name for name, count in names.items() if count > 1] == []
    declared = {tag["name"] for tag in document["tags"]}
    for place, operation in _operations(document):
        assert operation["summary"], place
        assert set(operation["tags"]) <= declared, place


def test_every_operation_needs_a_credential_and_says_how_it_fails(document: dict[str, Any]) -> None:
    for place, operation in _operations(document):
        if "/v1/unsubscribe/" in place:  # a page for people, whose credential is its signed address
            continue
        assert operation.get("security"), place
        assert {"401", "403", "422", "503"} <= operation["responses"].keys(), place
        for status, response in operation["responses"].items():
            if status >= "400":
                assert "application/problem+json" in response["content"], (place, status)


def test_examples_of_events_match_their_schema(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    schema = body["schema"] | {"components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    for name, example in body["examples"].items():
        assert validator.is_valid(example["value"]), name
    assert not validator.is_valid({"type": "message", "data": {}, "unknown": 1})
