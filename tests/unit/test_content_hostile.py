"""Templates and data of people who mean harm: no escape, no hang, no blow-up."""

import time
from typing import Any

import pytest
from carillon_shared.content import ContentError, lint_template, render_email, render_inapp
from carillon_shared.content.cache import TemplateCache
from carillon_shared.content.errors import BrokenTemplateError, Fault
from carillon_shared.content.html_template import inlined, prepare
from carillon_shared.content.markup import pieces, text_of
from carillon_shared.domain.channels import Channel
from hypothesis import given
from hypothesis import strategies as st
from support.content_examples import delivery

BOUND = 3.0  # seconds; generous for a busy machine, nothing beside what these would take without their fences


def render(source: str, data: dict[str, Any] | None = None) -> str:
    return render_inapp(delivery(Channel.INAPP, {"title": "t", "body": source}, data=data)).body


@pytest.mark.parametrize(
    "source",
    [
        "{{ data.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}",
        "{{ data['__class__'] }}",
        "{{ data.get('a') }}",
        "{{ tenant.__init__.__globals__ }}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ lipsum }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ namespace() }}",
        "{{ data | attr('__class__') }}",
        "{{ data | map(attribute='__class__') | list }}",
        "{{ data | _loop(0) }}",
        "{{ 'x' | format }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ [1] + [2] }}",
        "{{ range(999999999) }}",
        "{% for a in range(99999) %}{% endfor %}",
        "{% set a = 'aa' %}{{ a }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% macro a() %}{% endmacro %}",
        "{% block a %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with a = 1 %}{% endwith %}",
        "{% autoescape false %}{{ data.x }}{% endautoescape %}",
        "{% for a in data recursive %}{{ loop(a) }}{% endfor %}",
        "{{ data.x | safe }}",
        "{{ data.x[1:2] }}",
        "{{ {'a': 1} }}",
        "{{ 'x'.join(data) }}",
        "{{ data.x if data.y }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "not " * 3000 + "1 }}",
        "{% if data.x %}" * 500 + "{% endif %}" * 500,
        "{{ " + "9" * 10000 + " }}",
        "{{ data" + ".x" * 6000 + " }}",
        "{{ data.x" + " | upper" * 3000 + " }}",
        "{{ data.x }}" * 3000,
        "x" * 200_000,
        "{{ data.x",
        "{% for %}",
        "{{ 1e999999 | number }}{{",
    ],
)
def test_what_is_not_in_the_language_is_refused_when_saved_and_never_runs(source: str) -> None:
    started = time.perf_counter()
    assert lint_template(Channel.INAPP, {"title": "t", "body": source})
    with pytest.raises(ContentError):
        render(source, {"x": {}})
    assert time.perf_counter() - started < BOUND


@pytest.mark.parametrize(
    ("source", "data"),
    [
        (
            "{% for a in data.l %}" * 3 + "{% endfor %}" * 3,
            500,
        ),
        ("{% for a in data.l %}{% for b in data.l %}{{ b }}{% endfor %}{% endfor %}", 500),
        ("{% for a in data.l %}{% if data.s in data.l %}{% endif %}{% endfor %}", 30_000),
        ("{% for a in data.l %}{% if data.s == data.s %}{% endif %}{% endfor %}", 30_000),
        ("{% for a in data.l %}{{ data.s | upper | lower | title }}{% endfor %}", 30_000),
        ("{{ data.s | replace('x', data.s) }}", 1_000),
        ("{{ data.l | join(data.s) }}", 30_000),
        ("{{ data.s }}" * 1_500, 1),
        ("{% for a in data.l %}{{ data.s }}{% endfor %}", 10_000),
        ("{% for a in data.s %}{% endfor %}", 1),
    ],
)
def test_costly_templates_end_with_an_error_in_bounded_time(source: str, data: int) -> None:
    values = {"l": list(range(data)), "s": "x" * 100_000}
    assert lint_template(Channel.INAPP, {"title": "t", "body": source}) == []
    started = time.perf_counter()
    with pytest.raises(ContentError):
        render(source, values)
    assert time.perf_counter() - started < BOUND


@pytest.mark.parametrize(
    "source", ["{{ loop }}", "{% for a in data.l %}{{ loop }}{% endfor %}", "{{ data }}"]
)
def test_only_values_are_printed(source: str) -> None:
    with pytest.raises(ContentError):
        render(source, {"l": [1]})


def test_an_honest_large_list_is_within_the_budget() -> None:
    source = (
        "{% for row in data.rows %}{{ loop.index }} {{ row.name }}: {{ row.price | number }}\n{% endfor %}"
    )
    rows = [{"name": "n", "price": 1} for _ in range(500)]
    assert render(source, {"rows": rows}).endswith("500 n: 1")


@pytest.mark.parametrize(
    "html",
    [
        "<script>var a = '{{ data.x }}'</script>",
        "<p title={{ data.x }}>x</p>",
        "<p {{ data.x }}>x</p>",
        "<{{ data.x }}>x</p>",
    ],
)
def test_expressions_where_escaping_cannot_help_are_refused(html: str) -> None:
    problems = lint_template(Channel.EMAIL, {"subject": "s", "html": html})
    assert [problem.pointer for problem in problems] == ["/html"]


@pytest.mark.parametrize(
    "html",
    [
        "<style>div { color: red }</style>" + "<div>" * 50_000,
        "<style>div { color: red }</style>" + "".join(f"<b id=b{n}>" for n in range(1_000)) + "<p>" * 1_000,
        "<style>" + "p { color: red }" * 10_000 + "</style><p>",
    ],
)
def test_html_that_would_break_the_inliner_is_refused(html: str) -> None:
    with pytest.raises(ContentError):
        inlined(html)


def test_html_that_grows_in_a_loop_is_refused_per_mail() -> None:
    html = '<style>i { color: red }</style>{% for a in data.l %}<i class="{{ a }}">{% endfor %}'
    assert prepare(html).inline_each
    content = {"subject": "s", "html": html}
    with pytest.raises(ContentError, match="html: is too large"):
        render_email(delivery(Channel.EMAIL, content, data={"l": ["a"] * 5_000}))


@pytest.mark.parametrize("unit", ["<", "<!--", "<a '", '<a "', "<style>", "</", "&#", "<a href=", "\n\v \f"])
def test_reading_html_takes_time_in_proportion(unit: str) -> None:
    source = unit * (90_000 // len(unit))
    started = time.perf_counter()
    assert "".join(piece.source for piece in pieces(source)) == source
    text_of(source)
    assert time.perf_counter() - started < BOUND


@given(st.text(alphabet="<>/!-'\"ab =&;#\n{}%", max_size=60))
def test_html_taken_apart_is_whole_again(source: str) -> None:
    assert "".join(piece.source for piece in pieces(source)) == source
    text_of(source)


@given(st.text(alphabet="<>/'\"ab ={}%#|.x\n", max_size=40))
def test_no_source_raises_anything_but_content_errors(source: str) -> None:
    content = {"subject": source, "html": source}
    try:
        render_email(delivery(Channel.EMAIL, content, data={"x": "<y>"}))
    except ContentError:
        lint_template(Channel.EMAIL, content)


@given(st.text(max_size=80))
def test_no_value_adds_a_tag_or_a_line_of_header(value: str) -> None:
    content = {"subject": "a {{ data.x }}", "html": '<p title="{{ data.x }}">{{ data.x }}</p>'}
    mail = render_email(delivery(Channel.EMAIL, content, data={"x": value}))
    assert mail.html is not None
    assert mail.html.count("<") == 2
    assert mail.html.count('"') == 2
    assert len(mail.subject.splitlines()) == 1
    assert not any(character < " " for character in mail.subject)


def test_values_are_never_templates() -> None:
    assert render("{{ data.x }}", {"x": "{{ data.y }} {% for %}"}) == "{{ data.y }} {% for %}"


def test_errors_never_show_values() -> None:
    with pytest.raises(ContentError) as caught:
        render("{{ data.x | datetime }}", {"x": "secret-value"})
    assert "secret-value" not in caught.value.detail


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = TemplateCache(characters=100, entries=10)
    made: list[str] = []

    def get(source: str) -> str:
        def make() -> str:
            made.append(source)
            return source

        return cache.get("text", source, make)

    get("used")
    for number in range(50):
        get(f"{number:010d}")
        assert get("used") == "used"
    assert made.count("used") == 1
    assert len(cache) <= 10


def test_the_cache_keeps_faults_too() -> None:
    cache = TemplateCache()
    calls: list[int] = []

    def broken() -> str:
        calls.append(1)
        raise BrokenTemplateError([Fault(1, "is broken")])

    for _ in range(3):
        with pytest.raises(BrokenTemplateError, match="is broken"):
            cache.get("text", "x", broken)
    assert calls == [1]
