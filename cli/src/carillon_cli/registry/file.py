"""A tenant's event types, templates and people in one YAML or JSON file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from carillon_cli.failures import NothingMatchedError, WrongUseError

Content = dict[str, Any]
Place = tuple[str | int, ...]
"""Where something stands in the file: keys, and places in lists."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class TypeEntry(_Part):
    """An event type; what is not named here goes to the API as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    templates: dict[str, dict[str, Content]] = Field(default_factory=dict)  # by channel and locale

    @property
    def body(self) -> dict[str, Any]:
        """The registration without the name and the templates."""
        return dict(self.model_extra or {})


class PersonEntry(_Part):
    """A person; what is not named here goes to the API as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    roles: list[str] = Field(default_factory=list)
    topics: list[str] = Field(default_factory=list)
    preferences: dict[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The registration without the name, the memberships and the preferences."""
        return dict(self.model_extra or {})


class RegistryFile(_Part):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: dict[str, Any] | None = None
    origins: list[str] | None = None
    layouts: dict[str, Content] = Field(default_factory=dict)  # by locale
    event_types: list[TypeEntry] = Field(default_factory=list)
    subscribers: list[PersonEntry] = Field(default_factory=list)

    _path: Path | None = PrivateAttr(default=None)
    _root: yaml.Node | None = PrivateAttr(default=None)

    def place(self, where: Sequence[str | int]) -> str:
        """Return file and line of a place, or of the nearest thing around it that is in the file."""
        line = _line(self._root, where)
        return f"{self._path or 'the registry'}:{line}" if line else f"{self._path or 'the registry'}"


def read_registry(path: Path) -> RegistryFile:
    """Read a file; JSON is YAML, too.

    Raises:
        NothingMatchedError: when there is none.
        WrongUseError: when it cannot be read or is no registry; it names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise NothingMatchedError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WrongUseError(f"{path} cannot be read: {error}") from error
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    try:
        registry = RegistryFile.model_validate(content)
    except ValidationError as error:
        raise WrongUseError(_faults(path, root, error)) from error
    registry._path, registry._root = path, root  # noqa: SLF001 - set once, here
    return registry


def _faults(path: Path, root: yaml.Node | None, error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "\n".join(
        f"{path}:{_line(root, fault['loc']) or 1}: {_name(fault['loc'])}: {fault['msg']}" for fault in faults
    )


def _name(where: Sequence[str | int]) -> str:
    return ".".join(map(str, where)) or "the file"


def _line(node: yaml.Node | None, where: Sequence[str | int]) -> int | None:
    """Return the line of the innermost node on the way to a place, from 1."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for step in where:
        key, node = _below(node, step)
        if node is None:
            break
        line = (key or node).start_mark.line + 1
    return line


def _below(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), (None, None))
    if isinstance(node, yaml.SequenceNode) and str(step).isdigit() and int(step) < len(node.value):
        return None, node.value[int(step)]
    return None, None
