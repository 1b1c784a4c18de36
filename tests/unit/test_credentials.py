import asyncio
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jwt
import pytest
from carillon_api.authentication.callers import Tenant
from carillon_api.authentication.subscriber_tokens import SubscriberTokens
from carillon_api.authentication.tenants import Tenants
from carillon_api.ttl_cache import TtlCache
from carillon_shared.credentials import hash_secret, make_api_key, parse_api_key, secret_matches

_SECRET = "a secret that only tests know, long enough for every algorithm there is"
_NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


class _Clock:
    def __init__(self) -> None:
        self.moment = _NOW
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds


class _Tenants:
    async def find(self, slug: str) -> Tenant | None:
        return Tenant(7, slug, frozenset()) if slug == "acme" else None


def _tokens(clock: _Clock | None = None, secret: str = _SECRET) -> SubscriberTokens:
    return SubscriberTokens(secret, tenants=cast("Tenants", _Tenants()), clock=clock or _Clock())


def _signed(secret: str = _SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"aud": "carillon", "sub": "u-7", "tid": "acme", "exp": int(_NOW.timestamp()) + 600} | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


def test_a_key_comes_apart_into_what_it_was_made_of() -> None:
    key = make_api_key()
    assert parse_api_key(str(key)) == key
    assert key.secret not in repr(key)
    assert make_api_key() != key


@pytest.mark.parametrize(
    "text", ["", "ck_", "ck_short_x", "sk_abcdefgh_0123456789abcdef", "ck_abcdefgh_0123456789abcde\n"]
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert parse_api_key(text) is None


def test_secrets_are_kept_as_their_keyed_hash() -> None:
    stored = hash_secret("secret", pepper=b"pepper")
    assert stored == hmac.new(b"pepper", b"secret", hashlib.sha256).digest()
    assert secret_matches("secret", stored, pepper=b"pepper")
    assert not secret_matches("Secret", stored, pepper=b"pepper")
    assert not secret_matches("secret", stored, pepper=b"other")


async def test_a_token_names_its_person() -> None:
    text, expires_at = _tokens().mint(tenant="acme", subscriber="u-7", topics=["ticket:42"])
    caller = await _tokens().authenticate(text)
    assert caller is not None
    assert (caller.tenant_id, caller.tenant, caller.subscriber) == (7, "acme", "u-7")
    assert caller.topics == ("ticket:42",)
    assert caller.expires_at == expires_at == _NOW + timedelta(hours=1)


async def test_a_token_ends() -> None:
    clock = _Clock()
    text, expires_at = _tokens(clock).mint(tenant="acme", subscriber="u-7", lifetime=timedelta(minutes=5))
    clock.moment = expires_at + timedelta(seconds=5)
    assert await _tokens(clock).authenticate(text), "clocks may differ by some seconds"
    clock.moment = expires_at + timedelta(seconds=11)
    assert await _tokens(clock).authenticate(text) is None


@pytest.mark.parametrize("lifetime", [timedelta(), timedelta(hours=1, seconds=1)])
def test_no_token_lives_longer_than_an_hour(lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="an hour"):
        _tokens().mint(tenant="acme", subscriber="u-7", lifetime=lifetime)


async def test_a_token_signed_as_ours_are_is_taken() -> None:
    assert await _tokens().authenticate(_signed())


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(_signed("another secret that nobody knows, 32 ch"), id="other secret"),
        pytest.param(_signed(algorithm="HS512"), id="other algorithm"),
        pytest.param(_signed("", algorithm="none"), id="no signature"),
        pytest.param(_signed(aud="elsewhere"), id="other audience"),
        pytest.param(_signed(aud=None), id="no audience"),
        pytest.param(_signed(sub=None), id="no person"),
        pytest.param(_signed(sub=""), id="empty person"),
        pytest.param(_signed(tid=None), id="no tenant"),
        pytest.param(_signed(tid="other"), id="unknown tenant"),
        pytest.param(_signed(tid=7), id="tenant of another type"),
        pytest.param(_signed(exp=None), id="for ever"),
        pytest.param(_signed(exp=int(_NOW.timestamp()) + 7200), id="two hours"),
        pytest.param(_signed(exp=int(_NOW.timestamp()) - 60), id="over"),
        pytest.param(_signed(topics="ticket:42"), id="topics of another type"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("", id="nothing"),
    ],
)
async def test_a_token_that_is_not_ours_is_refused(forged: str) -> None:
    assert await _tokens().authenticate(forged) is None


async def test_a_value_is_kept_for_its_time_and_no_longer() -> None:
    clock, loads = _Clock(), 0

    async def load(key: str) -> str:
        nonlocal loads
        loads += 1
        return f"{key}{loads}"

    cache = TtlCache(load, seconds=5, clock=clock, size=2)
    assert [await cache.get("a"), await cache.get("a")] == ["a1", "a1"]
    clock.seconds = 5.0
    assert await cache.get("a") == "a2"
    cache.forget("a")
    assert await cache.get("a") == "a3"
    await cache.get("b")
    await cache.get("c")
    assert await cache.get("a") == "a6", "the oldest made room"


async def test_those_who_ask_at_once_share_one_look_up_and_its_failure_is_not_kept() -> None:
    loads, gate = 0, asyncio.Event()

    async def load(_key: str) -> int:
        nonlocal loads
        loads += 1
        await gate.wait()
        if loads == 1:
            raise OSError("away")
        return loads

    cache = TtlCache(load, seconds=5, clock=_Clock())
    asking = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 3
    assert await cache.get("a") == 2
