"""What the demo leaves a person with: commands to paste and addresses to open. A test runs all of them."""

import json
import shlex
from dataclasses import dataclass

from carillon_cli.connection import ApiAccess

_MESSAGE = {
    "type": "message",
    "data": {"title": "Hello", "body": "From one curl."},
    "audience": {"everyone": True},
}


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command or an address, and what it is for."""

    text: str
    shows: str


def commands(access: ApiAccess) -> list[NextStep]:
    """Return five commands for a shell in the checkout; each ends by itself with exit code 0."""
    curl = [
        *("curl", "--fail-with-body", "-sS", f"{access.url}/v1/events"),
        *("-H", f"Authorization: Bearer {access.key}", "-H", "Content-Type: application/json"),
        *("-d", json.dumps(_MESSAGE)),
    ]
    return [
        NextStep(shlex.join(curl), "tell everyone something"),
        NextStep("./carillon send examples/ticket.status_changed.json", "a ticket changes its status"),
        NextStep(
            "./carillon tail --user bat --last-event-id 0 --count 3", "a stream from its beginning, resumed"
        ),
        NextStep("./carillon dead-letters list", "what waits for a person"),
        NextStep("./carillon registry apply examples/registry.yaml", "change a template there first"),
    ]


def addresses(*, api_url: str, mock_url: str, key: str) -> list[NextStep]:
    """Return four addresses for a browser; the demo page opens by itself with the key."""
    # Behind the # it reaches no server and no log.
    return [
        NextStep(f"{mock_url}/", "the mailboxes and phones"),
        NextStep(f"{api_url}/demo#key={key}", "two inboxes side by side, and buttons that send"),
        NextStep(f"{api_url}/docs", "the API"),
        NextStep(f"{api_url}/readyz?verbose", "how the API is"),
    ]
