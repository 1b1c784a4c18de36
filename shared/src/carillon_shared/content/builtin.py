"""The templates of the built-in event types: `message`, so that one request reaches a person, and digests."""

from collections.abc import Mapping
from typing import Any, Final

from carillon_shared.domain.channels import Channel

MESSAGE: Final = "message"
"""The built-in event type. Its data: `title`, `body`, and `action_url` when there is something to open."""

DIGEST: Final = "carillon.digest"
"""The type of events that carry a digest. Its data: `items`, each with `title`, `type`, `time` and the `data`
of its event, and `total`, how many they are. A digest of one type is written with that type's templates."""

_OPEN = {"en": "Open", "mn": "Нээх"}

_HTML = """<!doctype html>
<html lang="{locale}">
<head><meta charset="utf-8"><title>{{{{ data.title }}}}</title></head>
<body style="margin: 0; padding: 24px; background: #f4f5f7; color: #1d2433; font: 16px/1.5 sans-serif">
<div style="max-width: 560px; margin: 0 auto; padding: 24px; background: #ffffff; border-radius: 8px">
<h1 style="margin: 0 0 16px; font-size: 20px">{{{{ data.title }}}}</h1>
<p style="margin: 0 0 16px">{{{{ data.body | line_breaks }}}}</p>
{{% if data.action_url | default("") %}}<p style="margin: 0 0 16px">
<a href="{{{{ data.action_url }}}}">{open}</a></p>
{{% endif %}}</div>
<p style="max-width: 560px; margin: 16px auto 0; color: #667085; font-size: 13px">{{{{ tenant.name }}}}</p>
</body>
</html>
"""

_LINK = '{% if data.action_url | default("") %}\n\n{{ data.action_url }}{% endif %}'

_EMAIL = {
    locale: {
        "subject": "{{ data.title }}",
        "html": _HTML.format(locale=locale, open=word),
        "text": "{{ data.body }}" + _LINK + "\n",
    }
    for locale, word in _OPEN.items()
}
_INAPP = {
    "title": "{{ data.title }}",
    "body": "{{ data.body }}",
    "action_url": '{{ data.action_url | default("") }}',
}
_WHATSAPP = {"text": "*{{ data.title }}*\n{{ data.body }}" + _LINK}

_MISSED = {
    "en": "{{ data.total }} {% if data.total == 1 %}notification{% else %}notifications{% endif %}",
    "mn": "{{ data.total }} мэдэгдэл",
}
_DIGEST_HTML = """<!doctype html>
<html lang="{locale}">
<head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin: 0; padding: 24px; background: #f4f5f7; color: #1d2433; font: 16px/1.5 sans-serif">
<div style="max-width: 560px; margin: 0 auto; padding: 24px; background: #ffffff; border-radius: 8px">
<h1 style="margin: 0 0 16px; font-size: 20px">{subject}</h1>
{{% for item in data.items %}}<p style="margin: 0 0 16px"><strong>{{{{ item.title }}}}</strong><br>
<span style="color: #667085; font-size: 13px">{{{{ item.time | datetime("short") }}}}</span></p>
{{% endfor %}}</div>
<p style="max-width: 560px; margin: 16px auto 0; color: #667085; font-size: 13px">{{{{ tenant.name }}}}</p>
</body>
</html>
"""
_DIGEST_TEXT = (
    "{% for item in data.items %}- {{ item.title }} ({{ item.time | datetime('short') }})\n{% endfor %}"
)
_DIGEST_EMAIL = {
    locale: {
        "subject": "{{ tenant.name }}: " + missed,
        "html": _DIGEST_HTML.format(locale=locale, subject=missed),
        "text": _DIGEST_TEXT,
    }
    for locale, missed in _MISSED.items()
}
_DIGEST_WHATSAPP = {locale: {"text": f"*{missed}*\n{_DIGEST_TEXT}"} for locale, missed in _MISSED.items()}

_DIGESTS: dict[Channel, Mapping[str, Mapping[str, Any]]] = {
    Channel.EMAIL: _DIGEST_EMAIL,
    Channel.WHATSAPP: _DIGEST_WHATSAPP,
}
_TEMPLATES: dict[Channel, Mapping[str, Mapping[str, Any]]] = {
    Channel.EMAIL: _EMAIL,
    Channel.INAPP: {"en": _INAPP},
    Channel.WHATSAPP: {"en": _WHATSAPP},
}


def builtin_templates(event_type: str, channel: Channel) -> Mapping[str, Mapping[str, Any]]:
    """Return the content by locale that an event type has without anybody's registering it; none for most."""
    if event_type == DIGEST:
        return _DIGESTS.get(channel, {})
    return _TEMPLATES.get(channel, {}) if event_type == MESSAGE else {}
