"""What a digest of several types says about each of its items: the title its own template gives it."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from carillon_shared.content.builtin import builtin_templates
from carillon_shared.content.errors import ContentError
from carillon_shared.content.scope import MAX_LINE, one_line, scope_of
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery

MAX_SECONDS: Final = 0.25
"""Processor time for all titles of one digest; items beyond it are named by their types."""

_FIELDS = {Channel.EMAIL: "subject", Channel.INAPP: "title", Channel.WHATSAPP: "text"}

TemplatesOfTypes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By event type and locale."""


def with_titles(delivery: LeasedDelivery, templates: TemplatesOfTypes) -> LeasedDelivery:
    """Return the digest with a `title` for each item. An item that cannot have one is named by its type."""
    until = time.thread_time() + MAX_SECONDS
    items = [
        {**item, "title": _title(delivery, item, templates) if time.thread_time() < until else item["type"]}
        for item in delivery.event.data.get("items", ())
    ]
    return delivery._replace(event=replace(delivery.event, data={**delivery.event.data, "items": items}))


def _title(delivery: LeasedDelivery, item: Mapping[str, Any], templates: TemplatesOfTypes) -> str:
    try:
        scope = scope_of(_own(delivery, item, templates))
        text = scope.text(_FIELDS[delivery.channel], limit=10 * MAX_LINE)
    except ContentError:
        return str(item["type"])
    first = next((line for line in map(one_line, text.splitlines()) if line), "")
    return first.replace("*", "")[:MAX_LINE] or str(item["type"])  # WhatsApp's mark for bold


def _own(delivery: LeasedDelivery, item: Mapping[str, Any], templates: TemplatesOfTypes) -> LeasedDelivery:
    """Return the item as the delivery it would have been by itself."""
    event = replace(
        delivery.event,
        type=item["type"],
        category=item["category"],
        subject=item["subject"],
        time=datetime.fromisoformat(item["time"]),
        data=item["data"],
    )
    own = templates.get(event.type) or builtin_templates(event.type, delivery.channel)
    return delivery._replace(event=event, templates=own)
