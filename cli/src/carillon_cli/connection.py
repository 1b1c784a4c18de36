"""Which API the commands talk to, and with which key."""

from dataclasses import dataclass
from pathlib import Path

import carillon_local
from carillon_local.accounts import Account
from carillon_local.places import find_checkout
from pydantic import BaseModel, ConfigDict, ValidationError

from carillon_cli.failures import NotReachableError, WrongUseError
from carillon_cli.settings import CliSettings

DEFAULT_API_URL = "http://127.0.0.1:8080"


class CliFile(BaseModel):
    """The content of `.carillon/cli.json`, which `up` writes for the demo tenant."""

    model_config = ConfigDict(frozen=True)

    api_url: str
    api_key: str
    tenant: str
    mock_url: str | None = None

    def __repr__(self) -> str:
        return f"CliFile(api_url={self.api_url!r}, tenant={self.tenant!r})"


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """An address and a key for it."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"ApiAccess(url={self.url!r})"


def this_checkout() -> Path:
    """Return the checkout around the current folder, else the one this program was installed from."""
    here = find_checkout(Path.cwd())
    if _is_checkout(here):
        return here
    source = find_checkout(Path(carillon_local.__file__).parent)
    return source if _is_checkout(source) else here


def cli_file_path(checkout: Path) -> Path:
    """Return where the address and the key are kept, for their owner only and ignored by git."""
    return checkout / ".carillon" / "cli.json"


def read_cli_file(checkout: Path) -> CliFile | None:
    """Return what `up` wrote; None when there is nothing that can be read."""
    try:
        return CliFile.model_validate_json(cli_file_path(checkout).read_bytes())
    except (OSError, ValidationError):
        return None


def write_cli_file(checkout: Path, content: CliFile) -> None:
    """Replace the file in one step, readable by its owner only."""
    path = cli_file_path(checkout)
    Account().make_folder(path.parent)
    Account().write_private(path, content.model_dump_json(indent=2) + "\n")


def find_access(settings: CliSettings, checkout: Path) -> ApiAccess:
    """Return where to talk to: what the environment says, else what `up` recorded.

    The recorded key is only ever sent to the recorded address.

    Raises:
        WrongUseError: when the environment gives an address without a key.
        NotReachableError: when nothing says where the API is.
    """
    kept = read_cli_file(checkout)
    url = settings.api_url.rstrip("/") if settings.api_url else None
    if settings.api_key is not None:
        return ApiAccess(url or DEFAULT_API_URL, settings.api_key.get_secret_value())
    if kept is not None and url in {None, kept.api_url}:
        return ApiAccess(kept.api_url, kept.api_key)
    if url is not None:
        raise WrongUseError(
            "CARILLON_API_URL is set and CARILLON_API_KEY is not: set it too. "
            "`carillon keys create` makes a key."
        )
    raise NotReachableError(
        "No platform is known here: start one with `carillon up`, "
        "or set CARILLON_API_URL and CARILLON_API_KEY."
    )


def _is_checkout(folder: Path) -> bool:
    return (folder / "deploy" / "local").is_dir()
