from dataclasses import dataclass

import pytest
from carillon_mock_providers.mail_view import decoded_subject, mail_detail
from carillon_mock_providers.mailbox import Mailbox
from carillon_mock_providers.ring import RecipientRing


@dataclass(slots=True)
class Record:
    n: int
    received_at: float
    recipients: tuple[str, ...]


def ring(*people: str, capacity: int = 100) -> RecipientRing[Record]:
    made: RecipientRing[Record] = RecipientRing(capacity)
    for person in people:
        number = made.next_number()
        made.append(Record(number, 1_000_000 + number, (person,)))
    return made


def numbers(records: list[Record]) -> list[int]:
    return [record.n for record in records]


def test_the_oldest_records_leave_the_log_and_the_index() -> None:
    made = ring("a", "b", "a", "c", capacity=2)
    assert numbers(made.page(limit=10)) == [3, 4]
    assert numbers(made.page(recipient="a", limit=10)) == [3]
    assert made.count("b") == 0
    assert (made.get(2), made.get(5)) == (None, None)
    assert made.get(3) is made.page(limit=10)[0]
    assert (len(made), made.appended, made.recipient_count()) == (2, 4, 2)


def test_a_page_is_the_latest_without_since_and_the_next_with_it() -> None:
    made = ring(*"aabaa")
    assert numbers(made.page(limit=2)) == [4, 5]
    assert numbers(made.page(since="2", limit=2)) == [3, 4]
    assert numbers(made.page(recipient="A", since="2", limit=2)) == [4, 5]
    assert numbers(made.page(since="1970-01-12T13:46:44+00:00", limit=9)) == [5]
    with pytest.raises(ValueError, match="isoformat"):
        made.page(since="yesterday", limit=1)


def test_a_glob_finds_several_people() -> None:
    made = ring("bat@x.example", "od@x.example", "bat@y.example")
    assert numbers(made.page(recipient="*@x.example", limit=9)) == [1, 2]
    assert made.count("bat@*") == 2


def test_people_come_with_the_one_heard_of_last_first() -> None:
    made = ring("a1", "b", "a2", "a1")
    assert [who for who, _ in made.recipients(limit=9)] == ["a1", "a2", "b"]
    assert [who for who, _ in made.recipients(containing="A", limit=1)] == ["a1"]


def test_clearing_keeps_the_numbers_going() -> None:
    made = ring("a", "b")
    assert made.clear() == 2
    assert (len(made), made.next_number()) == (0, 3)


SOURCE = (
    "From: =?utf-8?B?0JHQsNGC?= <bat@x.example>\r\nMessage-ID:\r\n <1@x.example>\r\n"
    "Subject: =?utf-8?B?0KjQuNC90Y0=?=\r\n =?utf-8?B?INC80Y3QtNGN0LM=?=\r\nReceived: one\r\nReceived: two\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\nSubject: not me\r\nШинэ\r\n"
).encode()


def test_a_mail_is_parsed_when_read() -> None:
    mail = Mailbox(records=5, sources=5).add(sender="s@x.example", recipients=("r@x.example",), source=SOURCE)
    view = mail_detail(mail)
    assert view["message_id"] == "<1@x.example>"
    assert view["subject"] == view["headers"]["Subject"] == "Шинэ мэдэг"
    assert view["headers"]["Received"] == "one\ntwo"
    assert view["from"] == "Бат <bat@x.example>"
    assert (view["text"], view["html"]) == ("Subject: not me\r\nШинэ\r\n", None)
    assert view["size"] == len(SOURCE)


def test_an_old_mail_keeps_its_light_record_only() -> None:
    box = Mailbox(records=5, sources=1)
    first = box.add(sender="s", recipients=("r",), source=SOURCE)
    box.add(sender="s", recipients=("r",), source=SOURCE)
    view = mail_detail(first)
    assert first.source is None
    assert (view["source_kept"], view["subject"], view["text"]) == (False, "Шинэ мэдэг", None)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"", ""),
        ("Шинэ".encode(), "Шинэ"),
        (b"=?no-such-charset?B?0KjQuNC90Y0=?=", "=?no-such-charset?B?0KjQuNC90Y0=?="),
        (b"=?utf-8?B?broken", "=?utf-8?B?broken"),
    ],
)
def test_a_subject_is_read_whatever_was_sent(header: bytes, text: str) -> None:
    assert decoded_subject(header) == text


@pytest.mark.parametrize(
    "source", [b"", b"\r\n\r\n", b"no header at all", b"Content-Type: multipart/mixed\r\n\r\nx"]
)
def test_a_strange_source_is_shown_all_the_same(source: bytes) -> None:
    mail = Mailbox(records=5, sources=5).add(sender="s", recipients=("r",), source=source)
    assert mail_detail(mail)["size"] == len(source)
