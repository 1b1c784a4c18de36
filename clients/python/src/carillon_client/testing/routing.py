"""Which function of the fake answers which request."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from carillon_client.testing import event_routes, inbox_routes, intake, operator_routes, people_routes
from carillon_client.testing.answering import Refused, Said

Handler = Callable[..., Said]
ROUTES: Mapping[tuple[str, str], Handler] = {
    ("POST", "/v1/events"): intake.post,
    ("GET", "/v1/events"): event_routes.list_events,
    ("GET", "/v1/events/{}"): event_routes.get_event,
    ("DELETE", "/v1/events/{}"): event_routes.cancel_event,
    ("POST", "/v1/events/{}/approve"): event_routes.approve_event,
    ("POST", "/v1/events/{}/reject"): event_routes.reject_event,
    ("GET", "/v1/deliveries"): event_routes.list_deliveries,
    ("GET", "/v1/deliveries/{}"): event_routes.get_delivery,
    ("POST", "/v1/deliveries/{}/retry"): operator_routes.retry_delivery,
    ("POST", "/v1/deliveries/{}/cancel"): event_routes.cancel_delivery,
    ("POST", "/v1/signals"): event_routes.send_signal,
    ("GET", "/v1/subscribers"): people_routes.list_subscribers,
    ("POST", "/v1/subscribers:bulk"): people_routes.import_subscribers,
    ("GET", "/v1/subscribers/{}"): people_routes.get_subscriber,
    ("PUT", "/v1/subscribers/{}"): people_routes.put_subscriber,
    ("DELETE", "/v1/subscribers/{}"): people_routes.delete_subscriber,
    ("POST", "/v1/subscribers/{}/tokens"): people_routes.mint_token,
    ("GET", "/v1/roles/{}/members"): people_routes.list_role,
    ("PUT", "/v1/roles/{}/members/{}"): people_routes.give_role,
    ("DELETE", "/v1/roles/{}/members/{}"): people_routes.take_role,
    ("GET", "/v1/topics/{}/subscribers"): people_routes.list_topic,
    ("PUT", "/v1/topics/{}/subscribers/{}"): people_routes.follow,
    ("DELETE", "/v1/topics/{}/subscribers/{}"): people_routes.unfollow,
    ("GET", "/v1/admin/dead-letters"): operator_routes.list_dead_letters,
    ("GET", "/v1/admin/dead-letters:count"): operator_routes.count_dead_letters,
    ("GET", "/v1/admin/dead-letters/{}"): operator_routes.get_dead_letter,
    ("POST", "/v1/admin/dead-letters:replay"): operator_routes.replay,
    ("POST", "/v1/admin/dead-letters:discard"): operator_routes.discard,
    ("GET", "/v1/admin/operations/{}"): operator_routes.get_operation,
    ("DELETE", "/v1/admin/operations/{}"): operator_routes.get_operation,
    ("GET", "/v1/inbox"): inbox_routes.list_inbox,
    ("GET", "/v1/inbox/unread-count"): inbox_routes.counts,
    ("PATCH", "/v1/inbox/{}"): inbox_routes.change_item,
    ("DELETE", "/v1/inbox/{}"): inbox_routes.delete_item,
    ("POST", "/v1/inbox:bulk"): inbox_routes.change_items,
    ("POST", "/v1/inbox:read-all"): inbox_routes.read_all,
    ("POST", "/v1/inbox:seen-all"): inbox_routes.seen_all,
    ("POST", "/v1/inbox:archive-read"): inbox_routes.archive_read,
}
_PATTERNS = [
    (method, re.compile(re.escape(path).replace(r"\{\}", "([^/]+)")), handler)
    for (method, path), handler in ROUTES.items()
]


def found(method: str, path: str) -> tuple[Handler, list[str]]:
    """Return the function for a request (its path still quoted), and the names in its path. Raises 404."""
    for known, pattern, handler in _PATTERNS:
        match = pattern.fullmatch(path)
        if known == method and match is not None:
            return handler, [unquote(name) for name in match.groups()]
    raise Refused(404, "not-found")
