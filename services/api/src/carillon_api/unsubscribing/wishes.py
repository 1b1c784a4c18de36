"""What leaving does to somebody's preferences."""

from collections.abc import Mapping
from copy import deepcopy
from enum import StrEnum
from typing import Any

from carillon_shared.content.builtin import DIGEST
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.unsubscribe import MailingOf


class Scope(StrEnum):
    """How much somebody leaves."""

    CATEGORY = "category"  # what the mail belongs to
    ALL = "all"  # everything over its channel that is not mandatory


def is_mixed(mailing: MailingOf) -> bool:
    """Return whether it was a digest of several types: of those, nobody can leave one."""
    return mailing.event_type == DIGEST


def without(document: Mapping[str, Any], mailing: MailingOf, scope: Scope) -> dict[str, Any]:
    """Return preferences that say no to a mailing.

    The most specific choice wins, so an earlier yes to something more specific that this covers goes.
    """
    changed: dict[str, Any] = deepcopy(dict(document))
    if scope is Scope.ALL:
        _say_no(changed, "all", None, mailing.channel)
        for kind in ("categories", "types"):
            for name in list(changed.get(kind, {})):
                _forget_yes(changed, kind, name, mailing.channel)
    else:
        _say_no(changed, "categories", mailing.category, mailing.channel)
        _forget_yes(changed, "types", mailing.event_type, mailing.channel)
    return changed


def _say_no(document: dict[str, Any], kind: str, name: str | None, channel: Channel) -> None:
    choices = document.setdefault(kind, {})
    (choices if name is None else choices.setdefault(name, {}))[channel.value] = False


def _forget_yes(document: dict[str, Any], kind: str, name: str, channel: Channel) -> None:
    choices = document.get(kind, {}).get(name, {})
    if choices.get(channel.value):
        del choices[channel.value]
        if not choices:
            del document[kind][name]
