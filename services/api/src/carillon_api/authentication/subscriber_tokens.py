"""Subscriber tokens: JWTs (RFC 7519) that let one person into their own feed for at most an hour."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from carillon_shared.clock import Clock

from carillon_api.authentication.callers import SubscriberToken, Tenant
from carillon_api.authentication.tenants import Tenants

MAX_LIFETIME = timedelta(hours=1)
_ALGORITHM = "HS256"
_AUDIENCE = "carillon"
_LEEWAY = timedelta(seconds=10)


class SubscriberTokens:
    """Mints and checks tokens with one secret."""

    def __init__(self, secret: str, *, tenants: Tenants, clock: Clock) -> None:
        self._secret = secret
        self._tenants = tenants
        self._clock = clock

    def mint(
        self, *, tenant: str, subscriber: str, lifetime: timedelta = MAX_LIFETIME, topics: Sequence[str] = ()
    ) -> tuple[str, datetime]:
        """Return a token and when it expires. Raises ``ValueError`` beyond `MAX_LIFETIME`."""
        if not timedelta() < lifetime <= MAX_LIFETIME:
            raise ValueError("a subscriber token lives for at most an hour")
        now = self._clock.now().replace(microsecond=0)
        claims = {
            "aud": _AUDIENCE,
            "sub": subscriber,
            "tid": tenant,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "topics": list(topics),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM), now + lifetime

    async def authenticate(self, text: str) -> SubscriberToken | None:
        """Return whose token this is; None when it is forged, expired, too long-lived or of no tenant."""
        claims = self._claims(text)
        tenant = await self._tenants.find(claims["tid"]) if claims else None
        return _caller(claims, tenant) if claims and tenant else None

    def _claims(self, text: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={
                    "require": ["aud", "sub", "exp", "tid"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError:
            return None
        return claims if self._acceptable(claims) else None

    def _acceptable(self, claims: dict[str, Any]) -> bool:
        """Times are checked here, by the clock that is passed in."""
        expires, topics, now = claims["exp"], claims.get("topics", []), self._clock.now()
        if type(expires) is not int or not isinstance(claims["tid"], str) or not claims["sub"]:
            return False
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            return False
        left = expires - now.timestamp()
        return -_LEEWAY.total_seconds() < left <= (MAX_LIFETIME + _LEEWAY).total_seconds()


def _caller(claims: dict[str, Any], tenant: Tenant) -> SubscriberToken:
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return SubscriberToken(tenant.id, tenant.slug, claims["sub"], tuple(claims.get("topics", ())), expires_at)
