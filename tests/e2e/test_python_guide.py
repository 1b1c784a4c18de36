"""The Python examples, of the guide and of the client's README, do what they say."""

import asyncio
import re
from pathlib import Path

import pytest
from support.seen import Seen

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/python.md"
README = ROOT / "clients/python/README.md"

pytestmark = pytest.mark.timeout(180)


def _examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _run(page: Path, given: dict[str, object]) -> None:
    for example in _examples(page):
        exec(compile(example, page.name, "exec"), given)  # noqa: S102 - our own documentation
    carillon = given.get("carillon")
    if carillon is not None:
        carillon.close()  # type: ignore[attr-defined]  # whatever the page made of it


async def test_the_examples_of_the_guide_do_what_they_say(platform: Seen) -> None:
    tenant = await platform.new_tenant()
    await tenant.call("PUT", "/v1/event-types/ticket.solved", expect=201, json={"channels": ["inapp"]})
    item = {"title": "Solved", "body": "Ticket {{ data.ticket_id }}"}
    path = "/v1/event-types/ticket.solved/templates/inapp/en"
    assert (await tenant.http.put(path, json=item)).is_success
    given: dict[str, object] = {
        "CARILLON_API_URL": platform.api_url,
        "CARILLON_API_KEY": tenant.key,
        "__name__": "guide",
    }
    await asyncio.to_thread(_run, GUIDE, given)
    assert len(_examples(GUIDE)) >= 7


async def test_the_example_of_the_readme_does_what_it_says(
    platform: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = await platform.new_tenant()
    monkeypatch.setenv("CARILLON_API_URL", platform.api_url)
    monkeypatch.setenv("CARILLON_API_KEY", tenant.key)
    await asyncio.to_thread(_run, README, {"__name__": "readme"})
    assert capsys.readouterr().out.endswith("False\n")
