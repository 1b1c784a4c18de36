"""Message templates a test or the demo may register; without any, every template name is accepted."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from carillon_mock_providers.whatsapp_errors import CloudApiError

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Template(BaseModel):
    """A template in one language; its body's placeholders are ``{{1}}`` or ``{{name}}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    language: str
    body: str = ""
    status: Literal["APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED"] = "APPROVED"


class Templates:
    """The registered templates, by name and language."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Template] = {}

    def replace(self, templates: tuple[Template, ...]) -> None:
        """Puts these in the place of all others."""
        self._known = {(template.name, template.language): template for template in templates}

    def check(self, *, name: str, language: str, parameters: int) -> None:
        """Raises CloudApiError when the template cannot be sent like this."""
        if not self._known:
            return
        template = self._known.get((name, language))
        if template is None or template.status in {"PENDING", "REJECTED"}:
            raise CloudApiError(132001, f"template name ({name}) does not exist in {language}")
        if template.status == "PAUSED":
            raise CloudApiError(132015)
        if template.status == "DISABLED":
            raise CloudApiError(132016)
        expected = len(set(_PLACEHOLDER.findall(template.body)))
        if parameters != expected:
            raise CloudApiError(
                132000,
                f"body: number of localizable_params ({parameters}) does not match the expected number of "
                f"params ({expected})",
            )

    def rendered(self, request: dict[str, Any]) -> str:
        """The text a phone shows: the registered body filled in, else the parameters as a list."""
        parameters = body_parameters(request)
        language = str((request.get("language") or {}).get("code", ""))
        template = self._known.get((str(request.get("name", "")), language))
        if template is None or not template.body:
            return "\n".join(_shown(parameter) for parameter in parameters)
        values = {str(index): _shown(parameter) for index, parameter in enumerate(parameters, start=1)}
        values |= {str(p["parameter_name"]): _shown(p) for p in parameters if "parameter_name" in p}
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template.body)


def body_parameters(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of the body component of a template message."""
    components = request.get("components") or []
    return [p for c in components if c.get("type", "").lower() == "body" for p in c.get("parameters") or []]


def _shown(parameter: dict[str, Any]) -> str:
    value = parameter.get(str(parameter.get("type", "text")))
    if isinstance(value, dict):
        return str(value.get("fallback_value", ""))
    return "" if value is None else str(value)
