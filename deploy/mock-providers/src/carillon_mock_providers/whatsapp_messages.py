"""Reading a send request the way the Cloud API does, with its error answers.

Source: `POST /{Version}/{Phone-Number-ID}/messages` in Meta's OpenAPI document (v23.0).
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from carillon_mock_providers.whatsapp_errors import CloudApiError
from carillon_mock_providers.whatsapp_templates import Templates, body_parameters

_TEXT_LIMIT = 4096
_CALLBACK_DATA_LIMIT = 512
_PHONE = re.compile(r"\d{7,15}")
_PHONE_MARKS = re.compile(r"[\s()+-]")
_BAD_PARAMETER_TEXT = re.compile(r"[\n\t]| {5,}")
_TYPES = frozenset(
    {"text", "template", "image", "document", "video", "audio", "sticker", "interactive", "location"}
    | {"contacts", "reaction"}
)


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A send request found valid. `wa_id` is the recipient's number in digits."""

    recipient: str
    wa_id: str
    kind: str
    callback_data: str | None
    source: bytes


def read_request(source: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        CloudApiError: code 100, when it is none.
    """
    try:
        body = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        raise CloudApiError(100, "The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise CloudApiError(100, "The request body must be a JSON object")
    if body.get("messaging_product") != "whatsapp":
        raise _missing("messaging_product")
    return body


def read_message(body: dict[str, Any], *, source: bytes, templates: Templates) -> MessageRequest:
    """The message in a request.

    Raises:
        CloudApiError: with the code the Cloud API gives for this mistake.
    """
    recipient = body.get("to")
    if not isinstance(recipient, str) or not recipient:
        raise _missing("to")
    wa_id = _PHONE_MARKS.sub("", recipient)
    if not _PHONE.fullmatch(wa_id):
        raise CloudApiError(131009, "Parameter value is not valid: to is not a phone number")
    kind = body.get("type", "text")
    _check_content(kind, body, templates)
    return MessageRequest(recipient, wa_id, kind, _callback_data(body), source)


def _check_content(kind: Any, body: dict[str, Any], templates: Templates) -> None:
    if not isinstance(kind, str) or kind not in _TYPES:
        raise CloudApiError(100, f"Param type must be one of the supported message types - got {kind!r}")
    content = body.get(kind)
    if not content or not isinstance(content, dict | list):
        raise _missing(kind)
    if kind == "text":
        _check_text(body["text"])
    elif kind == "template":
        _check_template(body["template"], templates)


def _check_text(text: Any) -> None:
    body = text.get("body") if isinstance(text, dict) else None
    if not isinstance(body, str) or not body:
        raise _missing("text['body']")
    if len(body) > _TEXT_LIMIT:
        raise CloudApiError(100, f"Param text['body'] must be at most {_TEXT_LIMIT} characters long.")


def _check_template(template: Any, templates: Templates) -> None:
    if not isinstance(template, dict) or not isinstance(template.get("name"), str) or not template["name"]:
        raise _missing("template['name']")
    language = template.get("language")
    code = language.get("code") if isinstance(language, dict) else None
    if not isinstance(code, str) or not code:
        raise _missing("template['language']['code']")
    if not _well_formed(template.get("components") or []):
        raise CloudApiError(100, "Param template['components'] must be a list of objects with parameters")
    parameters = body_parameters(template)
    for parameter in parameters:
        _check_parameter(parameter)
    templates.check(name=template["name"], language=code, parameters=len(parameters))


def _well_formed(components: Any) -> bool:
    return isinstance(components, list) and all(
        isinstance(component, dict)
        and isinstance(component.get("type"), str)
        and isinstance(component.get("parameters") or [], list)
        and all(isinstance(parameter, dict) for parameter in component.get("parameters") or [])
        for component in components
    )


def _check_parameter(parameter: dict[str, Any]) -> None:
    if parameter.get("type") != "text":
        return
    text = parameter.get("text")
    if not isinstance(text, str) or not text:
        raise CloudApiError(131008, "Parameter of type text is missing text value")
    if _BAD_PARAMETER_TEXT.search(text):
        raise CloudApiError(
            132018, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
        )


def _callback_data(body: dict[str, Any]) -> str | None:
    data = body.get("biz_opaque_callback_data")
    if data is None:
        return None
    if not isinstance(data, str) or len(data) > _CALLBACK_DATA_LIMIT:
        raise CloudApiError(
            100, f"Param biz_opaque_callback_data must be at most {_CALLBACK_DATA_LIMIT} characters long."
        )
    return data


def _missing(parameter: str) -> CloudApiError:
    return CloudApiError(
        100, "A required parameter is missing", message=f"(#100) The parameter {parameter} is required."
    )
