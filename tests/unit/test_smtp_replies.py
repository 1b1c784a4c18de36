"""What SMTP replies mean."""

import pytest
from carillon_email_worker.providers.errors import Stage, reply_outcome
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Undeliverable


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind"),
    [
        (Stage.CONNECT, 421, "busy", Retry),
        (Stage.CONNECT, 554, "no service here", Retry),
        (Stage.SENDER, 451, "later", Retry),
        (Stage.SENDER, 530, "5.7.0 Authentication required", Retry),
        (Stage.SENDER, 550, "5.1.8 sender unknown", Rejected),
        (Stage.SENDER, 550, "5.1.1 no such user", Rejected),
        (Stage.RECIPIENT, 450, "4.2.1 too many", Retry),
        (Stage.RECIPIENT, 452, "mailbox full", Retry),
        (Stage.RECIPIENT, 550, "5.1.1 no such user", Undeliverable),
        (Stage.RECIPIENT, 550, "no such user", Undeliverable),
        (Stage.RECIPIENT, 551, "moved", Undeliverable),
        (Stage.RECIPIENT, 552, "5.2.2 full", Undeliverable),
        (Stage.RECIPIENT, 553, "name not allowed", Undeliverable),
        (Stage.RECIPIENT, 550, "5.7.1 relaying denied", Rejected),
        (Stage.RECIPIENT, 550, "5.1.8 bad sender", Rejected),
        (Stage.RECIPIENT, 503, "bad sequence", Rejected),
        (Stage.DATA, 451, "later", Retry),
        (Stage.DATA, 554, "no valid recipients", Rejected),
        (Stage.MESSAGE, 421, "closing", Retry),
        (Stage.MESSAGE, 452, "4.3.1 no room", Retry),
        (Stage.MESSAGE, 552, "5.3.4 too big", Rejected),
        (Stage.MESSAGE, 554, "5.7.1 spam", Rejected),
        (Stage.MESSAGE, 550, "5.1.1 no such user", Undeliverable),
    ],
)
def test_replies_are_classified_by_stage_and_code(
    stage: Stage, code: int, text: str, kind: type[Outcome]
) -> None:
    outcome = reply_outcome(stage, code, text)
    assert isinstance(outcome, kind)
    assert (getattr(outcome, "code", None), getattr(outcome, "error", None)) == (
        f"smtp_{code}",
        f"{code} {text}",
    )


def test_a_long_reply_is_cut_to_one_line() -> None:
    outcome = reply_outcome(Stage.MESSAGE, 451, "a\nb" * 1_000)
    assert isinstance(outcome, Retry)
    assert len(outcome.error) == 500
    assert "\n" not in outcome.error
