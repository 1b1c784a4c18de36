from dataclasses import replace
from typing import Any

import pytest
from carillon_shared.content import (
    ContentError,
    preview,
    render_email,
    render_inapp,
    render_whatsapp,
    select_locale,
)
from carillon_shared.content.html_template import prepare
from carillon_shared.content.inapp_content import is_safe_url
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from support.content_examples import BAT, TENANT, delivery

STYLED = """<html><head><style>p { color: #123456 }
@media (max-width: 600px) { p { font-size: 18px } }</style></head>
<body><p>Hi {{ subscriber.attributes.name }}</p>
<table>{% for row in data.rows %}<tr><td>{{ row }}</td></tr>{% endfor %}</table>
<p><a href="{{ data.url }}">Open</a></p></body></html>"""


def title(source: str, data: dict[str, Any] | None = None, **changes: Any) -> str:
    return render_inapp(delivery(Channel.INAPP, {"title": source}, data=data, **changes)).title


def failure(source: str, data: dict[str, Any] | None = None) -> ContentError:
    with pytest.raises(ContentError) as caught:
        title(source, data)
    return caught.value


@pytest.mark.parametrize(
    ("available", "wanted", "default", "chosen"),
    [
        ({"mn", "mn-MN", "en"}, "mn-MN", "en", "mn-MN"),
        ({"mn", "en"}, "mn-MN", "en", "mn"),
        ({"mn", "en"}, "MN_mn", "en", "mn"),
        ({"mn-MN", "en"}, "mn", "en", "mn-MN"),
        ({"mn-Cyrl", "mn", "en"}, "mn-Cyrl-MN", "en", "mn-Cyrl"),
        ({"de", "en"}, "mn", "de-AT", "de"),
        ({"en", "fr"}, "mn", "de", "en"),
        ({"fr", "es"}, None, "de", "es"),
        ({"de", "en"}, None, "de", "de"),
    ],
)
def test_locale_falls_back_along_the_chain(
    available: set[str], wanted: str | None, default: str, chosen: str
) -> None:
    assert select_locale({tag: {} for tag in available}, wanted, default) == chosen


def test_no_template_at_all_is_its_own_reason() -> None:
    with pytest.raises(ContentError) as caught:
        render_inapp(delivery(Channel.INAPP))
    assert caught.value.reason is Reason.TEMPLATE_MISSING
    assert "ticket.status_changed/inapp" in caught.value.detail


def test_every_root_can_be_used() -> None:
    source = "{{ data.a }} {{ subscriber.id }} {{ event.subject }} {{ event.time }} {{ tenant.name }}"
    assert title(source, {"a": 1}) == "1 u-7 ticket/42 2026-11-21T10:00:00Z Acme & Sons"


@pytest.mark.parametrize(
    ("source", "variable"),
    [
        ("{{ data.owner }}", "data.owner"),
        ("{{ data.owner.name }}", "data.owner.name"),
        ("{% if data.owner %}x{% endif %}", "data.owner"),
        ("{% for a in data.owner %}x{% endfor %}", "data.owner"),
        ("{{ data.owner | upper }}", "data.owner"),
        ("{{ data.owner | date }}", "data.owner"),
        ("{% if data.owner == 'x' %}x{% endif %}", "data.owner"),
        ("{{ subscriber.attributes.nickname }}", "subscriber.attributes.nickname"),
    ],
)
def test_a_missing_variable_is_named_with_its_template(source: str, variable: str) -> None:
    error = failure(f"\n{source}")
    assert error.reason is Reason.TEMPLATE_ERROR
    assert error.detail.startswith(f"ticket.status_changed/inapp/en title: {variable} is missing (line 2)")


def test_what_may_be_absent_can_be_said_to_be() -> None:
    assert title('{{ data.a.b | default("none") }}') == "none"
    assert title("{{ data.a | default(data.b) }}", {"b": "second"}) == "second"
    assert title("x{% if data.a is defined %}{{ data.a }}{% endif %}") == "x"


def test_json_values_print_as_people_expect() -> None:
    assert title("[{{ data.n }}|{{ data.t }}|{{ data.i }}]", {"n": None, "t": True, "i": 7}) == "[|true|7]"
    assert "prints an object" in failure("{{ data.o }}", {"o": {"secret": 1}}).detail


def test_keys_that_are_names_of_python_methods_are_keys() -> None:
    assert title("{{ data.items }} {{ data.keys }}", {"items": "i", "keys": "k"}) == "i k"


def test_filters_do_what_they_say() -> None:
    data = {"s": "монгол улс", "l": ["a", "b", "c"], "o": {"k": "v"}}
    assert title("{{ data.s | upper }} {{ data.s | truncate(7) }}", data) == "МОНГОЛ УЛС монгол…"
    assert title("{{ data.l | join('; ') }} {{ data.l | length }} {{ data.l | last }}", data) == "a; b; c 3 c"
    assert title("{% for k, v in data.o | items %}{{ k }}={{ v }}{% endfor %}", data) == "k=v"
    assert title("{{ data.s | replace('улс', 'хэл') | urlencode }}", data).startswith("%D0%BC")


def test_mongolian_dates_and_money_in_the_recipients_own_zone() -> None:
    source = "{{ data.at | date('long') }} {{ data.at | time }} {{ data.sum | currency('MNT') }}"
    data = {"at": "2026-11-21T20:30:00Z", "sum": 15000}
    rendered = render_inapp(delivery(Channel.INAPP, templates={"mn": {"title": source}}, data=data))
    assert rendered.title == "2026 оны арван нэгдүгээр сарын 22 04:30 ₮ 15,000.00"


def test_the_same_moment_elsewhere() -> None:
    german = BAT._replace(locale="de-AT", time_zone="Europe/Vienna")
    templates = {"de": {"title": "{{ data.at | datetime('short') }} {{ data.n | number(2) }}"}}
    rendered = render_inapp(
        delivery(
            Channel.INAPP,
            templates=templates,
            recipient=german,
            data={"at": "2026-07-01T10:00:00Z", "n": 1234.5},
        )
    )
    assert rendered.title == "01.07.26, 12:00 1.234,50"


def test_a_recipient_who_gets_another_language_gets_its_dates_too() -> None:
    # the template is English: an English sentence with a Mongolian month in it reads worse
    assert title("{{ data.d | date('long') }}", {"d": "2026-11-21"}) == "November 21, 2026"


def test_unknown_habits_fall_back_to_the_tenants() -> None:
    odd = BAT._replace(locale="tlh-QQ", time_zone="Mars/Olympus")
    tenant = replace(TENANT, default_time_zone="Europe/Berlin")
    assert title("{{ event.time | time }}", recipient=odd, tenant=tenant) == "11:00 AM"


@pytest.mark.parametrize("value", ["yesterday", [1], {"a": 1}, None, True, 10**30])
def test_a_date_that_is_none_is_an_error_of_the_template(value: Any) -> None:
    assert failure("{{ data.at | datetime }}", {"at": value}).reason is Reason.TEMPLATE_ERROR


def test_html_is_escaped_and_text_is_not() -> None:
    content = {
        "subject": "{{ data.x }}",
        "html": '<p title="{{ data.x }}">{{ data.x }}</p>',
        "text": "{{ data.x }}",
    }
    mail = render_email(delivery(Channel.EMAIL, content, data={"x": "<b a=\"1\" b='2'>&"}))
    escaped = "&lt;b a=&#34;1&#34; b=&#39;2&#39;&gt;&amp;"
    assert mail.html == f'<p title="{escaped}">{escaped}</p>'
    assert mail.subject == mail.text == "<b a=\"1\" b='2'>&"


def test_css_goes_into_the_tags_before_variables_are_filled() -> None:
    assert not prepare(STYLED).inline_each
    data = {"rows": ["<1>", "2"], "url": "https://a.example/?x=1&y=2"}
    mail = render_email(delivery(Channel.EMAIL, {"subject": "s", "html": STYLED}, data=data))
    assert mail.html is not None
    assert '<p style="color: #123456;">Hi Bat</p>' in mail.html
    assert "<tbody><tr><td>&lt;1&gt;</td></tr><tr><td>2</td></tr></tbody>" in mail.html
    assert 'href="https://a.example/?x=1&amp;y=2"' in mail.html
    assert "@media (max-width: 600px)" in mail.html


@pytest.mark.parametrize(
    "html",
    [
        '<style>.hot { color: red }</style><p class="{{ data.kind }}">x</p>',
        "<style>.{{ data.kind }} { color: red }</style><p class=hot>x</p>",
        "<style>p:first-child { color: red }</style>{% if data.kind %}<p>x</p>{% endif %}",
        '<style>p { color: red }</style><p {% if data.kind %}lang="mn"{% endif %}>x</p>',
    ],
)
def test_css_that_depends_on_values_is_written_into_each_mail(html: str) -> None:
    assert prepare(html).inline_each
    mail = render_email(delivery(Channel.EMAIL, {"subject": "s", "html": html}, data={"kind": "hot"}))
    assert mail.html is not None
    assert "color: red" in mail.html.partition("<p")[2]


def test_text_is_made_of_html_when_the_template_has_none() -> None:
    html = (
        "<head><title>no</title><style>p{}</style></head><h1>A &amp; B</h1><p>One<br>two\n three</p>"
        "<ul>{% for x in data.xs %}<li>{{ x }}</li>{% endfor %}</ul><p>"
        '<a href="{{ data.url }}">Open</a> <!-- hidden {{ data.url }} --></p>{{ "{{" }} &#123;&#123; x'
    )
    data = {"xs": ["<1>", "2"], "url": "https://a.example/?x=1&y=2"}
    mail = render_email(delivery(Channel.EMAIL, {"subject": "s", "html": html}, data=data))
    assert mail.text == (
        "A & B\n\nOne\ntwo three\n\n- <1>\n- 2\n\nOpen (https://a.example/?x=1&y=2)\n\n{{ {{ x\n"
    )


def test_a_template_whose_text_cannot_be_derived_early_gets_it_from_each_mail() -> None:
    html = '<p {% if data.a %}lang="en">one</p>{% else %}>two</p>{% endif %}'
    assert prepare(html).text is None
    assert (
        render_email(delivery(Channel.EMAIL, {"subject": "s", "html": html}, data={"a": 1})).text == "one\n"
    )


def test_subjects_stay_on_their_line() -> None:
    content = {"subject": "Hi {{ data.x }}", "text": "t"}
    mail = render_email(delivery(Channel.EMAIL, content, data={"x": "a\r\nBcc: b@c\x00\u2028d"}))
    assert mail.subject == "Hi a Bcc: b@c d"


@pytest.mark.parametrize("value", ["", " \n", "\x00"])
def test_an_empty_subject_is_an_error(value: str) -> None:
    with pytest.raises(ContentError, match="subject: is empty"):
        render_email(delivery(Channel.EMAIL, {"subject": "{{ data.x }}", "text": "t"}, data={"x": value}))


@pytest.mark.parametrize("url", ["https://a.example/x?y=1#z", "http://localhost:8080/", "/tickets/42", "/"])
def test_links_a_feed_item_may_have(url: str) -> None:
    assert is_safe_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://",
        "https://[::1",
        "tickets/42",
        "ftp://a.example",
    ],
)
def test_links_a_feed_item_may_not_have(url: str) -> None:
    assert not is_safe_url(url)
    with pytest.raises(ContentError, match="action_url"):
        render_inapp(delivery(Channel.INAPP, {"title": "t", "action_url": "{{ data.u }}"}, data={"u": url}))


def test_whatsapp_parameters_are_what_meta_accepts() -> None:
    template = {"name": "ticket_status", "language": "mn", "parameters": ["{{ data.id }}", "{{ data.note }}"]}
    rendered = render_whatsapp(
        delivery(Channel.WHATSAPP, {"template": template}, data={"id": 42, "note": "a\n\tb     c"})
    )
    assert rendered.template is not None
    assert rendered.template.parameters == ("42", "a b c")
    assert rendered.text is None


def test_an_empty_whatsapp_parameter_is_an_error() -> None:
    template = {"name": "n", "language": "en", "parameters": ["{{ data.a }}"]}
    with pytest.raises(ContentError, match="template parameter 1: is empty"):
        render_whatsapp(delivery(Channel.WHATSAPP, {"template": template}, data={"a": ""}))


def test_text_longer_than_whatsapp_takes_is_an_error() -> None:
    with pytest.raises(ContentError, match="more than 4096 characters"):
        render_whatsapp(delivery(Channel.WHATSAPP, {"text": "{{ data.a }}"}, data={"a": "x" * 4097}))


@pytest.mark.parametrize(
    "data", [{"title": "T", "body": "B"}, {"title": "T", "body": "B", "action_url": "/x"}]
)
def test_the_built_in_message_reaches_every_channel(data: dict[str, Any]) -> None:
    mail = render_email(delivery(Channel.EMAIL, data=data, type="message"))
    item = render_inapp(delivery(Channel.INAPP, data=data, type="message"))
    chat = render_whatsapp(delivery(Channel.WHATSAPP, data=data, type="message"))
    link = data.get("action_url")
    assert (mail.subject, item.title, item.body, item.action_url) == ("T", "T", "B", link)
    assert mail.html is not None
    assert ("Нээх" in mail.html) is (link is not None)
    assert chat.text == "*T*\nB" + ("\n\n/x" if link else "")


def test_a_tenants_own_templates_replace_the_built_in_ones() -> None:
    own = delivery(Channel.INAPP, {"title": "own"}, type="message", data={"title": "T"})
    assert render_inapp(own).title == "own"


def test_preview_fails_as_sending_would() -> None:
    def shown(data: dict[str, Any]) -> dict[str, Any]:
        content = {"title": "{{ data.a }}"}
        return preview(
            channel=Channel.INAPP, locale="mn", content=content, event_type="t", data=data, tenant=TENANT
        )

    assert shown({"a": "x"}) == {"title": "x", "body": "", "action_url": None}
    with pytest.raises(ContentError, match=r"data\.a is missing"):
        shown({})
