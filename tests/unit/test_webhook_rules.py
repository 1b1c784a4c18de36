"""Signatures, schedule and the guard of outgoing webhooks."""

import pytest
from carillon_dispatcher.webhooks.guard import AddressGuard, ForbiddenAddressError, networks
from carillon_dispatcher.webhooks.retrying import DELAYS, delay_after
from carillon_dispatcher.webhooks.signing import signed_headers

# The example of the specification's reference libraries.
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_MESSAGE, _TIMESTAMP, _PAYLOAD = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def _even(low: float, high: float) -> float:
    return (low + high) / 2


def test_signatures_are_those_of_the_specification() -> None:
    headers = signed_headers(message_id=_MESSAGE, timestamp=_TIMESTAMP, payload=_PAYLOAD, secrets=[_SECRET])
    assert headers == {
        "webhook-id": _MESSAGE,
        "webhook-timestamp": str(_TIMESTAMP),
        "webhook-signature": _SIGNATURE,
    }


def test_while_a_secret_is_changed_both_sign() -> None:
    other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    headers = signed_headers(
        message_id=_MESSAGE, timestamp=_TIMESTAMP, payload=_PAYLOAD, secrets=[other, _SECRET]
    )
    first, second = headers["webhook-signature"].split(" ")
    assert second == _SIGNATURE
    assert first.startswith("v1,")
    assert first != second


def test_attempts_are_spread_over_days_and_end() -> None:
    delays = [delay_after(attempt, retry_after=None, uniform=_even) for attempt in range(1, len(DELAYS) + 2)]
    assert delays == [*DELAYS, None]
    assert sum(DELAYS) > 3 * 86_400
    assert list(DELAYS) == sorted(DELAYS)


def test_an_endpoint_may_ask_for_more_time_and_not_for_less() -> None:
    assert delay_after(1, retry_after=600.0, uniform=_even) == 600.0
    assert delay_after(3, retry_after=1.0, uniform=_even) == DELAYS[2]
    assert delay_after(1, retry_after=10.0**9, uniform=_even) == 86_400.0


def _guard(*addresses: str, allowed: str = "") -> AddressGuard:
    async def found(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return AddressGuard(networks(allowed), resolve=found)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep credentials
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - nothing listens here
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
async def test_no_address_inside_is_posted_to(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await _guard(address).target("https://hooks.example.org/a")
    with pytest.raises(ForbiddenAddressError):  # also when the name has a public address as well
        await _guard("93.184.215.14", address).target("https://hooks.example.org/a")


async def test_a_public_address_is_posted_to_over_https_only() -> None:
    target = await _guard("93.184.215.14").target("https://hooks.example.org:8443/a?b")
    assert (target.address, target.host, target.port) == ("93.184.215.14", "hooks.example.org", 8443)
    assert (await _guard("2606:2800:21f:cb07::1").target("https://h.example/")).port == 443
    with pytest.raises(ForbiddenAddressError):
        await _guard("93.184.215.14").target("http://hooks.example.org/a")


async def test_a_network_may_be_allowed() -> None:
    allowed = "10.0.0.0/8, ::1"
    assert (await _guard("10.1.2.3", allowed=allowed).target("http://inner/")).address == "10.1.2.3"
    assert (await _guard("::ffff:10.0.0.1", allowed=allowed).target("http://inner/")).port == 80
    with pytest.raises(ForbiddenAddressError):
        await _guard("192.168.0.1", allowed=allowed).target("https://other/")


@pytest.mark.parametrize("url", ["ftp://h.example/", "file:///etc/passwd", "https:///nobody", "gopher://x/"])
async def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await _guard("93.184.215.14").target(url)


async def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(ForbiddenAddressError):
        await _guard().target("https://nowhere.example/")


def test_networks_are_checked() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        networks("10.0.0.1/8")
