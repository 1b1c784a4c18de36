import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from carillon_cli.api import Api
from carillon_cli.connection import ApiAccess
from carillon_cli.failures import CommandError, WrongUseError
from carillon_cli.next_steps import addresses, commands
from carillon_cli.registry.changes import Applied, apply
from carillon_cli.registry.file import RegistryFile, read_registry
from carillon_cli.registry.things import things_of
from carillon_cli.stories import STORIES, Check, Stage, Story, StoryResult, play
from carillon_cli.stories.examples import Examples
from carillon_cli.stories.providers import MockProviders
from carillon_shared.content import lint_audience_rule, lint_template
from carillon_shared.domain.channels import Channel

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
EVENTS = sorted(path.stem for path in EXAMPLES.glob("*.json") if not path.stem.endswith(".signal"))
ACCESS = ApiAccess("http://api.test", "ck_test_key")


@pytest.fixture(scope="module")
def registry() -> RegistryFile:
    return read_registry(EXAMPLES / "registry.yaml")


@pytest.mark.parametrize("name", EVENTS)
def test_every_example_event_is_of_a_registered_type(name: str, registry: RegistryFile) -> None:
    event = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    assert event["type"] == name
    assert name in {entry.type for entry in registry.event_types} | {"message"}


def test_every_registered_type_has_an_example(registry: RegistryFile) -> None:
    assert {entry.type for entry in registry.event_types} == set(EVENTS) - {"message"}


def test_every_type_has_templates_in_both_languages_for_each_channel(registry: RegistryFile) -> None:
    for entry in registry.event_types:
        assert set(entry.templates) == set(entry.body["channels"]), entry.type
        for channel, locales in entry.templates.items():
            assert set(locales) == {"en", "mn"}, f"{entry.type}/{channel}"


def test_templates_and_audience_rules_are_in_order(registry: RegistryFile) -> None:
    for entry in registry.event_types:
        assert lint_audience_rule(entry.body.get("audience", {})) == [], entry.type
        for channel, locales in entry.templates.items():
            for locale, content in locales.items():
                assert lint_template(Channel(channel), content) == [], f"{entry.type}/{channel}/{locale}"


def test_an_event_of_a_run_is_no_duplicate_of_another_run() -> None:
    one, other = Examples(EXAMPLES, "one"), Examples(EXAMPLES, "other")
    assert one.event("message")["id"] != other.event("message")["id"]
    assert one.event("message", number=1)["id"] != one.event("message", number=2)["id"]
    assert one.event("auth.signed_in", user="x")["data"]["user"] == "x"
    assert one.event("auth.signed_in")["data"]["user"] == "bat"


def test_a_story_passes_when_it_has_checks_and_all_of_them_pass() -> None:
    good, bad = Check("a", passed=True), Check("b", passed=False)
    assert StoryResult("t", [good], 0).passed
    assert not StoryResult("t", [good, bad], 0).passed
    assert not StoryResult("t", [], 0).passed
    assert str(Check("mail", passed=True, detail="came", milliseconds=12.4)) == "✓ mail: came  12 ms"


async def test_a_story_that_cannot_go_on_is_a_failed_check() -> None:
    async def refused(_: Stage) -> Sequence[Check]:
        raise CommandError("The API refuses this.")

    stage = Stage(Api(ACCESS), MockProviders("http://mock.test"), Examples(EXAMPLES, "run"), 1.0)
    result = await play(Story("Broken", "nothing", refused), stage)
    assert not result.passed
    assert result.checks[0].detail == "The API refuses this."


def test_the_stories_are_the_six_and_a_bad_day() -> None:
    names = [story.name for story in STORIES]
    assert names == [
        "help-desk",
        "sign-in",
        "long-job",
        "user-management",
        "invitation",
        "system-message",
        "dead-letter",
    ]


def test_the_demo_leaves_five_commands_and_four_addresses() -> None:
    steps = commands(ACCESS)
    assert len(steps) == 5
    assert all(shlex.split(step.text) for step in steps)
    places = addresses(api_url="http://a", mock_url="http://m", key="secret")
    assert len(places) == 4
    assert [place.text for place in places if "secret" in place.text] == ["http://a/demo#key=secret"]


@pytest.mark.parametrize(
    "text",
    ["event_types: 7", "event_typos: []", "event_types: [{channels: [email]}]", "a: [", "- a list"],
)
def test_a_registry_that_makes_no_sense_is_wrong_use(tmp_path: Path, text: str) -> None:
    (tmp_path / "registry.yaml").write_text(text)
    with pytest.raises(WrongUseError, match=r"registry\.yaml"):
        read_registry(tmp_path / "registry.yaml")


class Registry:
    """An API that keeps what is put, as the real one does."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.puts: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if request.method == "PUT":
            return httpx2.Response(200, json=self._put(request))
        if path.endswith("/templates"):
            rows = [
                dict(zip(("channel", "locale"), key.split("/")[-2:], strict=True)) | {"content": content}
                for key, content in self.kept.items()
                if key.startswith(path + "/")
            ]
            return httpx2.Response(200, json={"data": rows})
        if path.endswith("/preferences"):
            return httpx2.Response(200, json=self.kept.get(path, {}))
        if path in self.kept:
            return httpx2.Response(200, json=self.kept[path])
        return httpx2.Response(404, json={"title": "Not found.", "status": 404})

    def _put(self, request: httpx2.Request) -> Any:
        path = request.url.path
        body = json.loads(request.content) if request.content else None
        if "dry_run" in request.url.params:
            return body
        self.puts.append(path)
        kind, name, *below = path.split("/")[2:]
        if kind in {"roles", "topics"}:
            person = self.kept[f"/v1/subscribers/{below[-1]}"]
            person[kind] = sorted({*person[kind], name})
        elif kind == "subscribers" and not below:
            body = {"roles": [], "topics": []} | (self.kept.get(path) or {}) | (body or {})
        self.kept[path] = body
        return body


async def _apply(script: Registry, registry: RegistryFile) -> list[Applied]:
    async with Api(ACCESS, transport=httpx2.MockTransport(script)) as api:
        return [applied async for applied in apply(api, registry)]


async def test_applying_twice_makes_no_second_version_of_a_template(registry: RegistryFile) -> None:
    script = Registry()
    first = await _apply(script, registry)
    assert {applied.verb for applied in first} == {"created"}
    assert len(first) == len(list(things_of(registry)))
    written = [path for path in script.puts if "/templates/" in path]
    second = await _apply(script, registry)
    assert {applied.verb for applied in second} == {"unchanged"}
    assert [path for path in script.puts if "/templates/" in path] == written


async def test_a_changed_template_is_written_and_nothing_else_changes(registry: RegistryFile) -> None:
    script = Registry()
    await _apply(script, registry)
    path = "/v1/event-types/ticket.note_added/templates/inapp/en"
    script.kept[path] = {"title": "older", "body": "older"}
    changed = [applied for applied in await _apply(script, registry) if applied.verb != "unchanged"]
    assert changed == [Applied(what="template ticket.note_added/inapp/en", verb="changed")]
    assert script.kept[path]["title"] != "older"


async def test_people_get_their_roles_topics_and_preferences(registry: RegistryFile) -> None:
    script = Registry()
    await _apply(script, registry)
    assert "/v1/roles/admin/members/oyuna" in script.puts
    assert "/v1/topics/ticket:42/subscribers/grace" in script.puts
    assert script.kept["/v1/subscribers/unlucky/preferences"]["all"] == {"email": False}
