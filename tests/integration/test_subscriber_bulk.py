"""Many people at once: every line has an answer, good ones go in, and an export comes in again the same."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from carillon_api.bulk import importing
from carillon_shared.db.pool import Pool
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase

BULK = "/v1/subscribers:bulk"
EXPORT = "/v1/subscribers:export"
FORMATS = {"csv": "text/csv", "jsonl": "application/jsonl"}
PEOPLE = 1_100  # more than two batches and two pages
ANNA = {
    "id": "anna",
    "email": "anna@example.org",
    "phone": "+97699112233",
    "locale": "mn-MN",
    "time_zone": "Asia/Ulaanbaatar",
    "attributes": {"name": "Өнөржаргал", "n": 1, "deep": {"a": [1, None]}},
    "roles": ["night; shift", "support"],
    "topics": ["project:7"],
    "preferences": {
        "all": {"whatsapp": False},
        "quiet_hours": {"windows": [{"from": "22:00", "to": "07:00", "days": ["mon"]}]},
        "muted": ["ticket:42"],
    },
}
NOBODY = dict.fromkeys(("email", "phone", "locale", "time_zone")) | {
    "attributes": {},
    "roles": [],
    "topics": [],
    "preferences": {},
}


@dataclass(frozen=True, slots=True)
class Scene:
    """Two tenants, and the owner's hands in the database."""

    acme: Producer
    other: Producer
    owner: Pool

    async def bulk(
        self, content: Any, *, form: str = "jsonl", to: Producer | None = None, **query: Any
    ) -> dict[str, Any]:
        reply = await self.send(content, form=form, to=to, **query)
        assert reply.status_code in {200, 207}, reply.text
        answer: dict[str, Any] = reply.json()
        assert reply.status_code == (207 if answer["refused"] else 200)
        assert sum(answer[state] for state in ("created", "updated", "unchanged", "refused")) == len(
            answer["data"]
        )
        return answer

    async def send(
        self, content: Any, *, form: str = "jsonl", to: Producer | None = None, **query: Any
    ) -> httpx2.Response:
        body = content if isinstance(content, str) else "".join(json.dumps(line) + "\n" for line in content)
        headers = {"Content-Type": FORMATS.get(form, form)}
        caller = to or self.acme
        return await caller.call("POST", BULK, content=body.encode(), headers=headers, params=query)

    async def export(self, form: str = "jsonl", *, of: Producer | None = None) -> str:
        reply = await (of or self.acme).get(EXPORT, params={"format": form})
        assert reply.status_code == 200, reply.text
        return reply.text

    async def people(self, *, of: Producer | None = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.export(of=of)).split("\n") if line]


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        scopes = ("subscribers:write", "operator")
        yield Scene(
            await make_producer(api, owner, "acme", scopes=scopes),
            await make_producer(api, owner, "other", scopes=scopes),
            owner,
        )
    await owner.close()


def _states(answer: dict[str, Any]) -> list[tuple[int, str | None, str]]:
    return [(row["line"], row["id"], row["status"]) for row in answer["data"]]


async def test_each_line_says_what_became_of_it(scene: Scene) -> None:
    answer = await scene.bulk([ANNA, {"id": "bat"}])
    assert _states(answer) == [(1, "anna", "created"), (2, "bat", "created")]
    assert await scene.people() == [ANNA, {"id": "bat"} | NOBODY]
    again = await scene.bulk([{"id": "bat", "email": "bat@example.org"}, ANNA])
    assert _states(again) == [(1, "bat", "updated"), (2, "anna", "unchanged")]


async def test_what_a_line_leaves_out_stays_and_null_removes(scene: Scene) -> None:
    await scene.bulk([ANNA])
    answer = await scene.bulk([{"id": "anna", "phone": None, "topics": None, "preferences": None}])
    assert _states(answer) == [(1, "anna", "updated")]
    assert await scene.people() == [ANNA | {"phone": None, "topics": [], "preferences": {}}]


@pytest.mark.parametrize(
    "change",
    [
        {"roles": ["support"]},
        {"topics": ["project:7", "project:8"]},
        {"preferences": {"all": {"email": False}}},
        {"attributes": {"name": "Anna"}},
        {"locale": "en"},
    ],
)
async def test_any_change_is_an_update_and_the_same_again_is_none(scene: Scene, change: Any) -> None:
    await scene.bulk([ANNA])
    for status in ("updated", "unchanged"):
        assert _states(await scene.bulk([{"id": "anna"} | change])) == [(1, "anna", status)]
    assert await scene.people() == [ANNA | change]


async def test_bad_lines_are_named_and_good_ones_go_in(scene: Scene) -> None:
    lines = [
        '{"id": "anna"}',
        '{"id": "bat", "email": "bat@"}',
        "",
        '{"id": "bat",}',
        '{"id": "bat", "fax": "1"}',
        '{"id": "bat", "attributes": {"a": "\\u0000"}}',
        '["bat"]',
        '{"id": "chimeg"}',
    ]
    answer = await scene.bulk("\n".join(lines))
    refused = {row["line"]: row["problem"] for row in answer["data"] if row["status"] == "refused"}
    assert sorted(refused) == [2, 4, 5, 6, 7]
    assert refused[2]["errors"] == [{"pointer": "/email", "detail": "is no e-mail address"}]
    assert "column 13" in refused[4]["detail"]
    assert [error["pointer"] for error in refused[5]["errors"]] == ["/fax"]
    assert [row["id"] for row in await scene.people()] == ["anna", "chimeg"]


async def test_a_csv_of_a_spreadsheet_is_read(scene: Scene) -> None:
    await scene.bulk([ANNA])
    rows = [
        "\ufeffid;email;phone;roles;attributes.name",
        "anna;anna@example.com;'+97699000000;support;",
        'bat;;;"admin; support";"Бат ""the"" 2nd"',
        "chimeg;chimeg@;12;;x",
        "dorj;dorj@example.org",
    ]
    answer = await scene.bulk("\r\n".join(rows), form="csv")
    assert _states(answer) == [
        (2, "anna", "updated"),
        (3, "bat", "created"),
        (4, "chimeg", "refused"),
        (5, None, "refused"),
    ]
    assert [error["pointer"] for error in answer["data"][2]["problem"]["errors"]] == ["/email", "/phone"]
    assert "2 cells" in answer["data"][3]["problem"]["detail"]
    changed = {"email": "anna@example.com", "phone": "+97699000000", "roles": ["support"]}
    bat = {"id": "bat", "roles": ["admin", "support"], "attributes": {"name": 'Бат "the" 2nd'}}
    assert await scene.people() == [ANNA | changed, NOBODY | bat]


@pytest.mark.parametrize(
    ("header", "pointer"),
    [("id,fax", "/fax"), ("email", "/id"), ("id,email,email", "/email"), ("id,attributes.", "/attributes.")],
)
async def test_a_header_that_cannot_be_is_refused_as_a_whole(scene: Scene, header: str, pointer: str) -> None:
    reply = await scene.send(f"{header}\nanna,x,y\n", form="csv")
    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]
    assert await scene.people() == []


@pytest.mark.parametrize("form", ["jsonl", "csv"])
async def test_what_was_exported_is_imported_the_same(scene: Scene, form: str) -> None:
    odd = ["=1+1", "+cmd", "-2", "@x", "'quoted", "'=both", 'a "b", c', "Ө\u2028b"]
    people = [ANNA, *({"id": name, "attributes": {"name": name}} | {"roles": [name]} for name in odd)]
    many = [{"id": f"u-{n}", "email": f"u-{n}@example.org"} for n in range(PEOPLE)]
    await scene.bulk([*people, *many])
    exported = await scene.export(form)
    for state in ("created", "unchanged"):
        answer = await scene.bulk(exported, form=form, to=scene.other)
        assert answer[state] == len(people) + PEOPLE
    assert await scene.people(of=scene.other) == await scene.people()
    assert (await scene.bulk(exported, form=form))["unchanged"] == len(people) + PEOPLE


async def test_no_cell_of_an_export_is_a_formula(scene: Scene) -> None:
    await scene.bulk([{"id": '=HYPERLINK("x")', "phone": "+97699112233"}])
    [row] = csv.DictReader(io.StringIO(await scene.export("csv")))
    assert (row["id"], row["phone"]) == ('\'=HYPERLINK("x")', "'+97699112233")


async def test_a_dry_run_answers_the_same_and_stores_nothing(scene: Scene) -> None:
    await scene.bulk([{"id": "anna"}])
    answer = await scene.bulk([ANNA, {"id": "bat"}, {"id": ""}], dry_run=True)
    assert [row["status"] for row in answer["data"]] == ["updated", "created", "refused"]
    assert await scene.people() == [{"id": "anna"} | NOBODY]


async def test_of_two_lines_for_one_person_the_later_one_wins(scene: Scene) -> None:
    lines = [{"id": "anna", "locale": "en"}, {"id": "bat"}, {"id": "anna", "locale": "mn", "roles": ["a"]}]
    answer = await scene.bulk(lines)
    assert [row["status"] for row in answer["data"]] == ["created", "created", "updated"]
    assert (await scene.people())[0] == {"id": "anna"} | NOBODY | {"locale": "mn", "roles": ["a"]}


async def test_whom_an_event_named_or_somebody_forgot_is_new(scene: Scene) -> None:
    await scene.bulk([ANNA])
    assert (await scene.acme.call("DELETE", "/v1/subscribers/anna")).status_code == 204
    await scene.owner.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id, registered) VALUES ($1, 'bat', false)",
        scene.acme.tenant_id,
    )
    answer = await scene.bulk([{"id": "anna"}, {"id": "bat"}])
    assert [row["status"] for row in answer["data"]] == ["created", "created"]
    assert await scene.people() == [{"id": "anna"} | NOBODY, {"id": "bat"} | NOBODY]


async def test_repeating_an_import_uses_up_no_numbers(scene: Scene) -> None:
    numbers = "SELECT last_value FROM carillon.subscribers_number_seq"
    await scene.bulk([ANNA, {"id": "bat"}])
    before = await scene.owner.fetchval(numbers)
    await scene.bulk([ANNA, {"id": "bat", "locale": "en"}])
    assert await scene.owner.fetchval(numbers) == before


async def test_tenants_neither_see_nor_touch_each_other(scene: Scene) -> None:
    await scene.bulk([ANNA])
    assert (await scene.bulk([{"id": "anna"}], to=scene.other))["created"] == 1
    assert await scene.people() == [ANNA]
    assert await scene.people(of=scene.other) == [{"id": "anna"} | NOBODY]


async def test_what_is_beyond_the_limit_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_LINES", 3)
    assert (await scene.bulk([{"id": f"u-{n}"} for n in range(3)]))["created"] == 3
    reply = await scene.send([{"id": f"v-{n}"} for n in range(4)])
    assert (reply.status_code, reply.json()["type"]) == (413, "urn:carillon:problem:too-many")
    assert len(await scene.people()) == 6  # those before are in, as the answer says
    body = "x" * (importing.MAX_BYTES + 1)
    assert (await scene.send(body)).status_code == 413


@pytest.mark.parametrize(
    "form", ["application/json", "text/csv; charset=windows-1251", "application/vnd.ms-excel"]
)
async def test_other_kinds_of_files_are_refused(scene: Scene, form: str) -> None:
    assert (await scene.send("id\nanna", form=form)).status_code == 415


async def test_an_export_is_audited(scene: Scene) -> None:
    await scene.export("csv")
    entries = (await scene.acme.get("/v1/admin/audit")).json()["data"]
    assert [(entry["action"], entry["details"]) for entry in entries] == [
        ("subscribers.exported", {"format": "csv"})
    ]
