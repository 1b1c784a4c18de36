"""What services wrote in their logs while everything went wrong."""

from collections.abc import Iterator, Sequence

from support.faults.ledger import Ledger
from support.faults.report import Violation
from support.platform import Platform

_NOT_OURS = "mock"
"""Log of the providers' stand-in, which is no part of a deployment."""


def logs_keep_secrets(platform: Platform, ledgers: Sequence[Ledger]) -> Iterator[Violation]:
    """No log has an address of a tenant's people, a key or a secret (I11)."""
    secrets = {platform.pepper: "the pepper of keys", platform.token_secret: "the secret of tokens"}
    for ledger in ledgers:
        secrets[f"@{ledger.tenant.slug}.example.org"] = "an address"
        secrets[ledger.tenant.key] = "a key"
    for log in sorted(platform.logs.glob("*.log")):
        if not log.name.startswith(_NOT_OURS):
            text = log.read_text(errors="replace")
            yield from (
                Violation("I11", log.name, f"{what} stands in it")
                for it, what in secrets.items()
                if it in text
            )
