"""Sign-in: a security mail in Mongolian, with the hour of the user's own time zone, at most ten an hour."""

from collections.abc import Sequence

from carillon_cli.api import segment
from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Sent, Stage

_LIMIT = 10


async def sign_in(stage: Stage) -> Sequence[Check]:
    """Let a new person sign in eleven times."""
    person, address = await _new_person(stage)
    first, *others = await stage.send(
        *(
            stage.examples.event("auth.signed_in", number=number, user=person)
            for number in range(1, _LIMIT + 2)
        )
    )
    return [
        await stage.mail(
            first,
            address,
            "Таны бүртгэлд шинээр нэвтэрлээ",  # in the person's language
            "203.0.113.24",
            "Firefox 145, Linux",
            "11-р сарын 21 18:05",  # 10:05 UTC in Ulaanbaatar
            "Google",
            "Анхааруулга",
        ),
        *await _throttled(stage, [first, *others], person, address),
    ]


async def _new_person(stage: Stage) -> tuple[str, str]:
    """Register somebody whose hour has only just begun."""
    person, address = f"bat-{stage.examples.run}", f"bat+{stage.examples.run}@acme.example"
    await stage.api.put(
        f"/v1/subscribers/{segment(person)}",
        {
            "email": address,
            "locale": "mn-MN",
            "time_zone": "Asia/Ulaanbaatar",
            "attributes": {"name": "Бат"},
        },
    )
    return person, address


async def _throttled(stage: Stage, sent: Sequence[Sent], person: str, address: str) -> Sequence[Check]:
    async def ten_mails() -> int | None:
        count = len(await stage.providers.mails(address, since=sent[0].since))
        return count if count >= _LIMIT else None

    async def one_held() -> str | None:
        for each in sent:
            for delivery in await stage.deliveries(each, subscriber=person, channel="email", status="held"):
                return str(delivery["next_attempt_at"] or delivery["hold_reason"])
        return None

    count = await stage.until(ten_mails)
    held = await stage.until(one_held)
    took = sent[0].milliseconds()
    mails = len(await stage.providers.mails(address, since=sent[0].since))
    return [
        Check(f"mail to {address}", count == _LIMIT == mails, f"{mails} of {len(sent)} sign-ins", took),
        Check("the eleventh mail is held", held is not None, f"until {held}" if held else "it is not", took),
    ]
