"""Layouts around mails, brands, and links to unsubscribe."""

import time
from dataclasses import replace
from typing import Any

import pytest
from carillon_shared.content import ContentError, in_layout, lint_layout, render_email, with_layouts
from carillon_shared.content.layouts import MAX_LAYOUT
from carillon_shared.domain.channels import Channel
from support.content_examples import TENANT, delivery

LAYOUT = {
    "html": "<html><head><style>p { color: #123456 }</style></head><body>"
    '<p style="border-color: {{ tenant.brand.color }}">{{ tenant.name }}</p>{{ content }}'
    '{% if subscriber.unsubscribe_url %}<a href="{{ subscriber.unsubscribe_url }}">Leave</a>{% endif %}'
    "</body></html>",
    "text": "{{ content }}\n-- \n{{ tenant.name }}",
}
MAIL = {"subject": "s", "html": "<p>Ticket {{ data.id }}</p>"}
BRANDED = replace(TENANT, name="Acme", brand={"color": "#0a7d5a"})


def rendered(content: dict[str, Any], *, url: str | None = None, **data: Any) -> Any:
    one = delivery(Channel.EMAIL, in_layout(content, LAYOUT), data={"id": 42, **data}, tenant=BRANDED)
    return render_email(one, unsubscribe_url=url)


def test_a_layout_stands_around_the_mail_with_brand_and_styles_for_both() -> None:
    mail = rendered(MAIL, url="https://n.example/u?a=1&b=2")
    assert mail.html.count("color: #123456") == 2
    assert "border-color: #0a7d5a" in mail.html
    assert "Ticket 42" in mail.html
    assert 'href="https://n.example/u?a=1&amp;b=2"' in mail.html
    assert mail.text.split("\n\n") == ["Acme", "Ticket 42", "Leave (https://n.example/u?a=1&b=2)\n"]


def test_mandatory_mail_has_no_link_and_a_text_of_its_own_has_its_own_layout() -> None:
    mail = rendered(MAIL | {"text": "Ticket {{ data.id }}"})
    assert "Leave" not in mail.html
    assert mail.text.split() == ["Ticket", "42", "--", "Acme"]


@pytest.mark.parametrize(
    "content",
    [
        MAIL | {"layout": False},
        {"subject": "s", "html": "<!DOCTYPE html><html><body>whole</body></html>"},
        {"subject": "s", "html": "<html lang=en><body>whole</body></html>"},
    ],
)
def test_a_whole_document_and_one_that_says_so_stay_as_they_are(content: dict[str, Any]) -> None:
    assert in_layout(content, LAYOUT) == content


def test_each_language_has_its_layout_along_the_chain() -> None:
    layouts = {
        "mn": {"html": "mn {{ content }}", "text": None},
        "en": {"html": "en {{ content }}", "text": None},
    }
    templates = {locale: {"subject": "s", "html": "x"} for locale in ("mn-MN", "en", "fr")}
    made = with_layouts(templates, layouts, "mn")
    assert {locale: content["html"] for locale, content in made.items()} == {
        "mn-MN": "mn x",
        "en": "en x",
        "fr": "mn x",
    }
    assert with_layouts(templates, {}, "en") is templates


def test_what_a_mail_says_is_no_part_of_the_layout_s_text() -> None:
    mail = rendered(MAIL | {"html": r"<p>\1 {{ data.word }}</p>"}, word="{{ content }}<b>")
    assert r"\1 {{ content }}&lt;b&gt;" in mail.html


@pytest.mark.parametrize(
    ("layout", "pointers"),
    [
        (LAYOUT, set()),
        ({"html": "{{- content -}}"}, set()),
        ({"html": "no place"}, {"/html"}),
        ({"html": "{{ content }}{{ content }}"}, {"/html"}),
        ({"html": "{{ content }}", "text": "no place"}, {"/text"}),
        ({"html": ""}, {"/html"}),
        ({"html": "{{ content }}{{ secrets }}"}, {"/html"}),
        ({"html": "{{ content | upper }}"}, {"/html"}),
        ({"html": "{{ content }}{% include 'x' %}"}, {"/html"}),
        ({"html": "<script>{{ content }}</script>"}, {"/html"}),
        ({"html": "<p class={{ content }}>"}, {"/html"}),
        ({"html": "{{ content }}" + "x" * MAX_LAYOUT}, {"/html"}),
        ({"html": "{{ content }}" + "<b>" * 60_000}, {"/html"}),
        ({"html": "{{ content }}" + "{% if data.x %}" * 500 + "{% endif %}" * 500}, {"/html"}),
    ],
)
def test_a_layout_s_mistakes_are_found_when_it_is_saved(layout: dict[str, Any], pointers: set[str]) -> None:
    started = time.perf_counter()
    assert {problem.pointer for problem in lint_layout(layout)} == pointers
    assert time.perf_counter() - started < 3


def test_a_costly_layout_ends_with_an_error() -> None:
    layout = {
        "html": "{% for a in data.l %}{% for b in data.l %}{{ b }}{% endfor %}{% endfor %}{{ content }}"
    }
    assert lint_layout(layout) == []
    one = delivery(Channel.EMAIL, in_layout(MAIL, layout), data={"id": 1, "l": list(range(2_000))})
    started = time.perf_counter()
    with pytest.raises(ContentError, match="too long"):
        render_email(one)
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({"subject": "{{ data.no }}", "html": "x"}, "/subject"),
        ({"subject": "s", "html": "{{ data.no }}"}, "/html"),
        ({"subject": "s", "html": "x", "text": "{{ data.no }}"}, "/text"),
    ],
)
def test_an_error_points_at_the_field(content: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ContentError) as failed:
        rendered(content)
    assert failed.value.pointer == pointer
