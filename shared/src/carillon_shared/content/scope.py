"""What a delivery's templates see: `data`, `subscriber`, `event`, `tenant`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from carillon_shared.content.budget import Budget
from carillon_shared.content.builtin import builtin_templates
from carillon_shared.content.compiled import CompiledText, compile_text
from carillon_shared.content.errors import BrokenTemplateError, ContentError
from carillon_shared.content.locales import language, select_locale
from carillon_shared.content.localized import Formatting, formatting
from carillon_shared.content.sandbox import BUDGET, FORMATTING
from carillon_shared.domain.delivery import EventContent, LeasedDelivery, Recipient
from carillon_shared.domain.states import Reason

MAX_LINE: Final = 1_000
"""Characters of a subject, a title, a parameter."""

MAX_BODY: Final = 1_000_000
"""Characters of a mail's HTML or text."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The template one recipient gets, and in whose way it writes dates and numbers."""

    name: str  # as people say it: ticket.status_changed/email/mn
    locale: str
    content: Mapping[str, Any]
    habits: Formatting


@dataclass(frozen=True, slots=True)
class Scope:
    """One delivery's rendering: the chosen template and its variables."""

    choice: Choice
    variables: dict[str, Any]

    def line(self, field: str, source: str | None = None) -> str:
        """Render a field as one clean line: no line breaks, no control characters. Raises `ContentError`."""
        return one_line(self.text(field, source, limit=MAX_LINE))

    def text(self, field: str, source: str | None = None, *, limit: int = MAX_BODY) -> str:
        """Render a field as plain text. Raises `ContentError`."""
        found = self.source(field) if source is None else source
        return self.rendered(field, lambda: compile_text(found, html=False), limit=limit)

    def rendered(self, field: str, compiled: Callable[[], CompiledText], *, limit: int = MAX_BODY) -> str:
        """Render a field that is compiled already or now. Raises `ContentError` with the field's name."""
        try:
            return encodable(compiled().render(self.variables, limit=limit))
        except BrokenTemplateError as error:
            raise self.error(field, str(error)) from error
        except ContentError as error:
            raise self.error(field, error.detail, reason=error.reason) from error

    def source(self, field: str) -> str:
        """Return a field's template. Raises `ContentError` when there is none."""
        found = self.choice.content.get(field)
        if not isinstance(found, str):
            raise self.error(field, "is missing in the template")
        return found

    def error(self, field: str, detail: str, *, reason: Reason = Reason.TEMPLATE_ERROR) -> ContentError:
        """Return an error that says where it is."""
        return ContentError(f"{self.choice.name} {field}: {detail}", reason=reason, pointer=_pointer(field))


def _pointer(field: str) -> str:
    """Return where a field is: "template parameter 2" is /template/parameters/1, "html as text" /html."""
    name, *others = field.split()
    return f"/template/parameters/{int(others[1]) - 1}" if others[:1] == ["parameter"] else f"/{name}"


def choose(delivery: LeasedDelivery) -> Choice:
    """Choose the template of a delivery. Raises `ContentError` (template_missing)."""
    event, recipient = delivery.event, delivery.recipient
    templates = delivery.templates or builtin_templates(event.type, delivery.channel)
    where = f"{event.type}/{delivery.channel.value}"
    try:
        locale = select_locale(templates, recipient.locale, event.tenant.default_locale)
    except ContentError as error:
        raise ContentError(f"{where}: {error.detail}", reason=error.reason) from error
    return Choice(f"{where}/{locale}", locale, templates[locale], _habits(delivery, locale))


def scope_of(delivery: LeasedDelivery, choice: Choice | None = None) -> Scope:
    """Return what one delivery's template sees. Raises `ContentError` when there is no template."""
    chosen = choice or choose(delivery)
    event, tenant = delivery.event, delivery.event.tenant
    return Scope(
        chosen,
        {
            "data": event.data,
            "subscriber": subscriber_variables(delivery.recipient),
            "event": event_variables(event),
            "tenant": {"name": tenant.name, "slug": tenant.slug, "brand": tenant.brand},
            BUDGET: Budget(),
            FORMATTING: chosen.habits,
        },
    )


def subscriber_variables(recipient: Recipient) -> dict[str, Any]:
    """Return `subscriber`. Addresses are left out: content has no need of them."""
    return {
        "id": recipient.id,
        "locale": recipient.locale,
        "time_zone": recipient.time_zone,
        "attributes": recipient.attributes,
    }


def event_variables(event: EventContent) -> dict[str, Any]:
    """Return `event`."""
    return {
        "id": str(event.id),
        "type": event.type,
        "category": event.category,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.astimezone(UTC),
    }


def one_line(text: str) -> str:
    """Return text as one line: a run of white space or line breaks is a space, control characters go."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(filter(_is_printable, joined))


def _is_printable(character: str) -> bool:
    return character >= " " and not "\x7f" <= character <= "\x9f"


def encodable(text: str) -> str:
    """Return text that UTF-8 can carry: lone surrogates, as broken JSON brings them, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _habits(delivery: LeasedDelivery, template_locale: str) -> Formatting:
    """Follow the recipient's region when they read the template's language, else the template's own."""
    recipient, tenant = delivery.recipient, delivery.event.tenant
    wanted = recipient.locale or tenant.default_locale
    same = language(wanted) == language(template_locale)
    locales = (wanted, template_locale) if same else (template_locale, wanted)
    return formatting(locales=locales, time_zones=(recipient.time_zone, tenant.default_time_zone))
