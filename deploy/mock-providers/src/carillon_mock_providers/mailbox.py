"""Mail that was accepted: light records at receipt, parsed only when somebody reads them."""

import re
import time
from collections import deque
from dataclasses import dataclass

from carillon_mock_providers.ring import RecipientRing, SourceWindow

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t\r\n]*(\S+)", re.IGNORECASE | re.MULTILINE)
_SUBJECT = re.compile(rb"^Subject:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class Mail:
    """One accepted message. `recipients` are the envelope's, in lower case; `source` goes when it is old."""

    n: int
    received_at: float
    recipients: tuple[str, ...]
    sender: str
    message_id: str
    subject_header: bytes
    size: int
    source: bytes | None
    copy_of: int | None = None


@dataclass(frozen=True, slots=True)
class Bounce:
    """A mail that was accepted and came back."""

    mail_number: int
    message_id: str
    recipient: str
    sender: str
    bounced_at: float
    status: str = "5.1.1"
    diagnostic: str = "smtp; 550 5.1.1 The mailbox does not exist (simulated bounce)"


class Mailbox:
    """All mail of all people."""

    def __init__(self, *, records: int, sources: int) -> None:
        self.log: RecipientRing[Mail] = RecipientRing(records)
        self.bounces: deque[Bounce] = deque(maxlen=records)
        self._sources: SourceWindow[Mail] = SourceWindow(sources, _drop_source)

    def add(
        self, *, sender: str, recipients: tuple[str, ...], source: bytes, copy_of: int | None = None
    ) -> Mail:
        """Keeps one accepted message."""
        head = _head(source)
        mail = Mail(
            n=self.log.next_number(),
            received_at=time.time(),
            recipients=recipients,
            sender=sender,
            message_id=_first(_MESSAGE_ID, head).decode("utf-8", "replace"),
            subject_header=_first(_SUBJECT, head),
            size=len(source),
            source=source,
            copy_of=copy_of,
        )
        self.log.append(mail)
        self._sources.append(mail)
        return mail

    def bounce(self, mail: Mail, recipient: str) -> Bounce:
        """Notes that an accepted mail came back from one recipient."""
        bounce = Bounce(mail.n, mail.message_id, recipient, mail.sender, time.time())
        self.bounces.append(bounce)
        return bounce

    def clear(self) -> int:
        """Forgets all mail and bounces; returns how many mails there were."""
        self._sources.clear()
        self.bounces.clear()
        return self.log.clear()


def read_message_id(source: bytes) -> str:
    """The Message-ID of a message, empty when it has none."""
    return _first(_MESSAGE_ID, _head(source)).decode("utf-8", "replace")


def _head(source: bytes) -> bytes:
    end = source.find(b"\r\n\r\n")
    return source if end < 0 else source[:end]


def _first(pattern: re.Pattern[bytes], head: bytes) -> bytes:
    found = pattern.search(head)
    return found.group(1) if found else b""


def _drop_source(mail: Mail) -> None:
    mail.source = None
