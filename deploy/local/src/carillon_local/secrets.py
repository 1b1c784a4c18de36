"""Random passwords of one installation, made once; none is in the repository."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from carillon_local.accounts import Account

OWNER_ROLE = "carillon_owner"
SERVICE_ROLES = (
    "carillon_api",
    "carillon_dispatcher",
    "carillon_email_worker",
    "carillon_whatsapp_worker",
    "carillon_inapp_worker",
    "carillon_operator",
)
LOGIN_ROLES = (OWNER_ROLE, *SERVICE_ROLES)


def new_password() -> str:
    """Return a random password of 192 bits that needs no quoting in a URL, a shell or SQL."""
    return secrets.token_hex(24)


class Secrets(BaseModel):
    """The passwords of one installation.

    Attributes:
        superuser: of PostgreSQL's superuser.
        broker: of the broker's only user.
        whatsapp_access_token: what the WhatsApp worker shows the mock provider.
        whatsapp_app_secret: signs the mock provider's webhooks.
        whatsapp_verify_token: what the mock provider asks the API for before it posts any.
        api_key_pepper: keys the hashes of API keys.
        api_token_secret: signs subscriber tokens.
        unsubscribe_secret: signs the links in mails.
        bounce_secret: signs the mails that the mock provider sends back.
        roles: of each database login role, by its name.
    """

    model_config = ConfigDict(frozen=True)

    superuser: str = Field(default_factory=new_password)
    broker: str = Field(default_factory=new_password)
    whatsapp_access_token: str = Field(default_factory=new_password)
    whatsapp_app_secret: str = Field(default_factory=new_password)
    whatsapp_verify_token: str = Field(default_factory=new_password)
    api_key_pepper: str = Field(default_factory=new_password)
    api_token_secret: str = Field(default_factory=new_password)
    unsubscribe_secret: str = Field(default_factory=new_password)
    bounce_secret: str = Field(default_factory=new_password)
    roles: dict[str, str] = Field(default_factory=lambda: {role: new_password() for role in LOGIN_ROLES})

    def database_url(self, role: str, *, port: int, database: str, host: str = "127.0.0.1") -> str:
        """Return the URL with which one role reaches one database."""
        return f"postgresql://{role}:{self.roles[role]}@{host}:{port}/{database}"


def load_secrets(path: Path) -> Secrets:
    """Return the passwords kept in a file that only its owner can read, making what is missing.

    Two starts at once get the same passwords.
    """
    with _locked(path.with_name(f"{path.name}.lock")):
        kept = Secrets.model_validate_json(path.read_bytes()) if path.exists() else Secrets()
        added = {role: new_password() for role in LOGIN_ROLES if role not in kept.roles}
        complete = kept.model_copy(update={"roles": {**kept.roles, **added}})
        Account().write_private(path, complete.model_dump_json(indent=2) + "\n")
    return complete


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
