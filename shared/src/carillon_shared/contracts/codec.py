"""Bytes to messages and back."""

from pydantic import ValidationError

from carillon_shared.contracts.messages import MESSAGE_TYPES, Message

MAX_BODY_BYTES = 100_000
"""Larger bodies are never written (live ones fall back to ids); larger ones that arrive are poison."""


class UndecodableMessageError(Exception):
    """The body cannot be read: unknown type or version, not JSON, wrong shape, or too large. Poison."""


def encode(message: Message) -> bytes:
    """Return the JSON body of a message."""
    return message.model_dump_json(exclude_defaults=False).encode()


def decode(message_type: str | None, body: bytes) -> Message:
    """Read a body by the AMQP `type` property. Raises `UndecodableMessageError`."""
    model = MESSAGE_TYPES.get(message_type or "")
    if model is None:
        raise UndecodableMessageError(f"no message type {message_type!r} is known here")
    if len(body) > MAX_BODY_BYTES:
        raise UndecodableMessageError(f"the body has {len(body)} bytes")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise UndecodableMessageError(
            f"{message_type}: {error.error_count()} problems, first: {error.errors()[0]['msg']}"
        ) from error
