"""Lint, audience rules, and rendering once for many."""

from typing import Any

import pytest
from carillon_shared.content import (
    ContentError,
    RenderPlan,
    depends_on_formatting,
    depends_on_subscriber,
    lint_audience_rule,
    lint_template,
    render_audience_rule,
    render_inapp,
)
from carillon_shared.content.inapp_content import RenderedInapp
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from support.content_examples import BAT, delivery


@pytest.mark.parametrize(
    ("channel", "content"),
    [
        (Channel.EMAIL, {"subject": "s", "html": "<p>x</p>", "text": None}),
        (Channel.EMAIL, {"subject": "s", "text": "x"}),
        (Channel.INAPP, {"title": "t"}),
        (Channel.WHATSAPP, {"text": "x"}),
        (Channel.WHATSAPP, {"text": "x", "template": {"name": "n", "language": "mn"}}),
        (Channel.WHATSAPP, {"template": {"name": "n", "language": "mn", "parameters": ["{{ data.x }}"]}}),
    ],
)
def test_good_templates_have_no_problems(channel: Channel, content: dict[str, Any]) -> None:
    assert lint_template(channel, content) == []


@pytest.mark.parametrize(
    ("channel", "content", "pointers"),
    [
        (Channel.EMAIL, {"subject": "s"}, {""}),
        (Channel.EMAIL, {"html": "x"}, {"/subject"}),
        (Channel.EMAIL, {"subject": "s", "html": "{{ x }}", "txt": "y"}, {"/html", "/txt"}),
        (Channel.EMAIL, {"subject": 1, "text": "x"}, {"/subject"}),
        (Channel.INAPP, {"title": "{{ data.x", "body": "{% if %}"}, {"/title", "/body"}),
        (Channel.WHATSAPP, {}, {""}),
        (
            Channel.WHATSAPP,
            {"template": {"name": "", "lang": "mn", "parameters": ["ok", "{{ y }}", None, 3]}},
            {
                "/template/lang",
                "/template/name",
                "/template/language",
                "/template/parameters/1",
                "/template/parameters/2",
                "/template/parameters/3",
            },
        ),
        (
            Channel.WHATSAPP,
            {"template": {"name": "n", "language": "mn", "parameters": "x"}},
            {"/template/parameters"},
        ),
    ],
)
def test_problems_point_at_the_field(channel: Channel, content: dict[str, Any], pointers: set[str]) -> None:
    assert {problem.pointer for problem in lint_template(channel, content)} == pointers


def test_a_problem_names_the_line() -> None:
    problems = lint_template(Channel.EMAIL, {"subject": "s", "html": "<p>\n{{ data.x() }}</p>"})
    assert [problem.detail for problem in problems] == ["uses a call, which templates cannot do (line 2)"]


def test_a_rule_is_filled_from_the_events_data() -> None:
    rule = {
        "users": [
            "{{ data.owner }}",
            "{{ data.watchers }}",
            "fixed",
            "{{ data.nobody }}",
            "{{ data.number }}",
        ],
        "topics": ["ticket:{{ data.number }}"],
        "exclude": ["{{ data.actor.id }}"],
        "everyone": False,
    }
    data = {"owner": "u-7", "watchers": ["u-1", "u-2"], "nobody": None, "number": 42, "actor": {"id": "u-9"}}
    assert render_audience_rule(rule, data) == {
        "users": ["u-7", "u-1", "u-2", "fixed", "42"],
        "topics": ["ticket:42"],
        "exclude": ["u-9"],
        "everyone": False,
    }


def test_people_given_inline_are_filled_too() -> None:
    rule = {"users": [{"id": "{{ data.id }}", "email": "{{ data.mail }}"}, "{{ data.people }}"]}
    data = {"id": 5, "mail": "a@example.org", "people": [{"id": "u-1", "phone": "+976"}]}
    assert render_audience_rule(rule, data)["users"] == [
        {"id": "5", "email": "a@example.org"},
        {"id": "u-1", "phone": "+976"},
    ]


@pytest.mark.parametrize(
    ("rule", "data", "words"),
    [
        ({"users": ["{{ data.owner }}"]}, {}, "audience users: data.owner is missing"),
        ({"topics": ["ticket:{{ data.id }}"]}, {}, "audience topics: data.id is missing"),
        ({"users": ["{{ data.o }}"]}, {"o": ""}, "is empty"),
        ({"users": ["{{ data.o }}"]}, {"o": True}, "is no id"),
        ({"roles": ["{{ data.o }}"]}, {"o": {"id": "x"}}, "is no id"),
        ({"users": ["{{ data.o }}"]}, {"o": [["x"]]}, "is no id"),
        ({"users": ["{{ data.o }}"]}, {"o": ["x"] * 10_001}, "more than 10000"),
        ({"users": ["{{ data.o() }}"]}, {}, "uses a call"),
    ],
)
def test_rules_that_name_nobody_are_errors(rule: dict[str, Any], data: dict[str, Any], words: str) -> None:
    with pytest.raises(ContentError) as caught:
        render_audience_rule(rule, data)
    assert words in caught.value.detail


def test_rules_are_linted() -> None:
    problems = lint_audience_rule({"users": ["{{ data.x }}", "{{ subscriber.id }}"], "topics": ["{{ data.("]})
    assert [problem.pointer for problem in problems] == ["/users/1", "/topics/0"]


@pytest.mark.parametrize(
    ("content", "personal", "formatted"),
    [
        ({"title": "{{ data.x }}"}, False, False),
        ({"title": "t", "body": "{% if subscriber.attributes.vip %}x{% endif %}"}, True, False),
        ({"title": "{{ event.time | datetime }}"}, False, True),
        ({"template": {"name": "n", "language": "mn", "parameters": ["{{ subscriber.id }}"]}}, True, False),
    ],
)
def test_what_a_template_depends_on_is_known(
    content: dict[str, Any], *, personal: bool, formatted: bool
) -> None:
    assert depends_on_subscriber(content) is personal
    assert depends_on_formatting(content) is formatted


def renderings(title: str, deliveries: int = 4) -> tuple[int, list[str]]:
    calls: list[LeasedDelivery] = []

    def counted(one: LeasedDelivery) -> RenderedInapp:
        calls.append(one)
        return render_inapp(one)

    plan = RenderPlan(counted)
    zones = ["Asia/Ulaanbaatar", "Europe/Berlin"]
    people = [BAT._replace(id=f"u-{n}", number=n, time_zone=zones[n % 2]) for n in range(deliveries)]
    titles = [plan(delivery(Channel.INAPP, {"title": title}, recipient=person)).title for person in people]
    return len(calls), titles


def test_a_chunk_shares_what_does_not_depend_on_its_people() -> None:
    assert renderings("{{ event.subject }}") == (1, ["ticket/42"] * 4)
    assert renderings("{{ event.time | time }}")[0] == 2
    assert renderings("{{ subscriber.id }}") == (4, ["u-0", "u-1", "u-2", "u-3"])


def test_locales_are_not_mixed_up_in_a_chunk() -> None:
    templates = {"mn": {"title": "сайн"}, "en": {"title": "hi"}}
    plan = RenderPlan(render_inapp)
    english = BAT._replace(locale="en-GB")
    people = [BAT, english, BAT]
    titles = [plan(delivery(Channel.INAPP, templates=templates, recipient=one)).title for one in people]
    assert titles == ["сайн", "hi", "сайн"]
