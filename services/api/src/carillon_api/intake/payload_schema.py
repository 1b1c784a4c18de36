"""JSON Schemas (draft 2020-12) that a type's payloads must match."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from carillon_api.errors import FieldError, json_pointer

MAX_ERRORS = 20


class PayloadSchema:
    """One compiled schema. It reaches out to no other document and matches patterns in linear time."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile; raises ``ValueError`` with what is wrong with the schema."""
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema),
                offline=True,
                pattern_options=jsonschema_rs.RegexOptions(),
                validate_formats=True,
                mask="the value",
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(str(getattr(error, "message", error))) from error

    def faults(self, data: Mapping[str, Any], *, pointer: str = "/data") -> list[FieldError]:
        """Return what is wrong with `data`, which stands at `pointer`; empty when it matches."""
        if self._validator.is_valid(data):
            return []
        faults: list[FieldError] = []
        for error in self._validator.iter_errors(data):
            faults.append({"pointer": pointer + json_pointer(error.instance_path), "detail": error.message})
            if len(faults) == MAX_ERRORS:
                break
        return faults
