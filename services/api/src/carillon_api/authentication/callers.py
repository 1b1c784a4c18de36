"""What a credential says about its bearer."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A service of this tenant."""

    tenant_id: int
    tenant: str  # the tenant's slug
    key_id: str
    scopes: frozenset[str]

    def allows(self, scope: str) -> bool:
        """Tell whether the key carries this scope; `admin` carries all."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class SubscriberToken:
    """A person of this tenant. `topics` may be streamed besides the person's own memberships."""

    tenant_id: int
    tenant: str  # the tenant's slug
    subscriber: str  # the tenant's own id
    topics: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as requests need it."""

    id: int
    slug: str
    origins: frozenset[str]  # exact origins whose pages may call recipient routes
