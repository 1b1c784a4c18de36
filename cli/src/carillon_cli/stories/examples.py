"""The example files, made new for each run: what was sent before is no duplicate of what is sent now."""

import json
import secrets
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carillon_cli.failures import NothingMatchedError

REGISTRY = "registry.yaml"


@dataclass(frozen=True, slots=True)
class Examples:
    """The folder with the example registry and one file for each event."""

    folder: Path
    run: str = field(default_factory=lambda: secrets.token_hex(4))  # goes into every event's id

    def another_run(self) -> "Examples":
        """Return the same examples for a further run."""
        return Examples(self.folder)

    @property
    def registry(self) -> Path:
        """The registry that the stories rely on."""
        return self.folder / REGISTRY

    def event(self, name: str, *, number: int = 1, **data: Any) -> dict[str, Any]:
        """Return an example event with an id of this run; `data` replaces parts of its payload."""
        event = self.read(name)
        event["id"] = f"{name}-{self.run}-{number}"
        event["data"] = event["data"] | data
        return event

    def read(self, name: str) -> dict[str, Any]:
        """Return the content of one example file. Raises `NothingMatchedError` when it is missing."""
        path = self.folder / f"{name}.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NothingMatchedError(f"There is no example {path}.") from error
        return deepcopy(content)
