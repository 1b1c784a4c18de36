"""Rendering once for many: in a broadcast most templates do not mention the recipient."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from carillon_shared.content.compiled import CompiledText, compile_text
from carillon_shared.content.errors import BrokenTemplateError
from carillon_shared.content.scope import Choice, choose
from carillon_shared.domain.delivery import LeasedDelivery

RenderedT = TypeVar("RenderedT")


def depends_on_subscriber(content: Mapping[str, Any]) -> bool:
    """Say whether any field mentions `subscriber`. A broken template counts as one that does."""
    return any(text is None or text.depends_on_subscriber for text in _compiled(content))


def depends_on_formatting(content: Mapping[str, Any]) -> bool:
    """Say whether any field writes dates or numbers in the recipient's locale or time zone."""
    return any(text is None or text.depends_on_formatting for text in _compiled(content))


class RenderPlan(Generic[RenderedT]):
    """Renders the deliveries of one chunk, each distinct content once. Make a new one per chunk."""

    def __init__(self, render: Callable[[LeasedDelivery], RenderedT]) -> None:
        self._render = render
        self._shared: dict[Hashable, RenderedT] = {}
        self._traits: dict[str, tuple[bool, bool]] = {}
        self._keys: dict[Hashable, Hashable | None] = {}

    def __call__(self, delivery: LeasedDelivery) -> RenderedT:
        """Return the content of a delivery, rendered now or for another one before. Raises `ContentError`."""
        key = self._known_key(delivery)
        if key is None:
            return self._render(delivery)
        if key not in self._shared:
            self._shared[key] = self._render(delivery)
        return self._shared[key]

    def _known_key(self, delivery: LeasedDelivery) -> Hashable | None:
        """Choose once for all who have the same language and time zone."""
        recipient = delivery.recipient
        same = (delivery.event.id, recipient.locale, recipient.time_zone)
        if same not in self._keys:
            self._keys[same] = self._key(delivery)
        return self._keys[same]

    def _key(self, delivery: LeasedDelivery) -> Hashable | None:
        choice = choose(delivery)
        personal, formatted = self._traits_of(choice)
        if personal:
            return None
        return (delivery.event.id, choice.name, choice.habits if formatted else None)

    def _traits_of(self, choice: Choice) -> tuple[bool, bool]:
        if choice.name not in self._traits:
            content = choice.content
            self._traits[choice.name] = depends_on_subscriber(content), depends_on_formatting(content)
        return self._traits[choice.name]


def _compiled(content: Mapping[str, Any]) -> Iterator[CompiledText | None]:
    for source in _sources(content):
        try:
            yield compile_text(source, html=False)
        except BrokenTemplateError:
            yield None


def _sources(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _sources(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _sources(inner)
