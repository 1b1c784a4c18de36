"""JSON answers, written by orjson."""

from typing import Any

import orjson
from starlette.responses import Response


class JsonReply(Response):
    """A response whose content is any JSON value."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes on the wire."""
        return orjson.dumps(content)
