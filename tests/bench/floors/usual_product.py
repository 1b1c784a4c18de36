"""The same product as it is usually built: FastAPI, SQLAlchemy and Celery, a task per recipient and channel.

As a competent engineer would: preferences in the query that finds the audience, notifications inserted a
thousand at a time, tasks published over one kept connection, templates compiled once, a kept SMTP connection,
acks late, one transaction a task, retries with a backoff, and a task that runs twice sends once.
"""

import os
import smtplib
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from celery import Celery
from fastapi import FastAPI
from jinja2 import Environment
from pydantic import BaseModel
from sqlalchemy import (
    ForeignKey,
    MetaData,
    Text,
    UniqueConstraint,
    create_engine,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

QUEUE = "bench.usual"
_PAGE = 1_000

engine = create_engine(os.environ["BENCH_SQLALCHEMY_URL"], pool_size=5, connect_args={"prepare_threshold": 0})
jinja = Environment(autoescape=True)
HTML = jinja.from_string("<h1>{{ title }}</h1><p>Hello {{ name }},</p><p>{{ body }}</p>")
TEXT = Environment(autoescape=False).from_string("Hello {{ name }},\n\n{{ body }}\n")  # noqa: S701 - no HTML


class Base(DeclarativeBase):
    """Tables of the product, in a schema of their own."""

    metadata = MetaData(schema="usual")


class Subscriber(Base):
    """A person."""

    __tablename__ = "subscribers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    unread: Mapped[int] = mapped_column(default=0)


class Preference(Base):
    """A channel that a person does not want."""

    __tablename__ = "preferences"
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("usual.subscribers.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    enabled: Mapped[bool]


class Event(Base):
    """What is said to everybody."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Notification(Base):
    """One event to one person over one channel."""

    __tablename__ = "notifications"
    __table_args__ = (UniqueConstraint("event_id", "subscriber_id", "channel"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("usual.events.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("usual.subscribers.id"))
    channel: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default="pending")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    event: Mapped[Event] = relationship(lazy="joined", innerjoin=True)
    subscriber: Mapped[Subscriber] = relationship(lazy="joined", innerjoin=True)


class InboxItem(Base):
    """A line of a person's feed."""

    __tablename__ = "inbox_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    notification_id: Mapped[int] = mapped_column(ForeignKey("usual.notifications.id"), unique=True)
    subscriber_id: Mapped[int] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


app = Celery("usual", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    task_send_sent_event=False,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
web = FastAPI()


class Broadcast(BaseModel):
    """The body of a request."""

    title: str
    body: str


@web.post("/broadcasts", status_code=202)
def broadcast(given: Broadcast) -> dict[str, int]:
    """Store the event and let a task tell everybody."""
    with Session(engine) as session:
        event = Event(title=given.title, body=given.body)
        session.add(event)
        session.commit()
        fan_out.delay(event.id)
        return {"id": event.id}


@app.task(name="usual.fan_out")  # type: ignore[untyped-decorator]  # Celery has no types
def fan_out(event_id: int) -> None:
    last = 0
    with Session(engine) as session, app.producer_pool.acquire(block=True) as producer:
        while people := _people(session, last):
            wanted = [(row.id, channel) for row in people for channel in _channels(row)]
            rows = [{"event_id": event_id, "subscriber_id": who, "channel": how} for who, how in wanted]
            made = session.execute(
                insert(Notification).returning(Notification.id, Notification.channel), rows
            ).all()
            session.commit()
            for notification, channel in made:
                TASKS[channel].apply_async((notification,), producer=producer)
            last = people[-1].id


def _people(session: Session, last: int) -> list[Any]:
    refused = (
        select(func.array_agg(Preference.channel))
        .where(Preference.subscriber_id == Subscriber.id, Preference.enabled.is_(False))
        .scalar_subquery()
    )
    query = select(Subscriber.id, Subscriber.email, refused.label("refused"))
    return list(session.execute(query.where(Subscriber.id > last).order_by(Subscriber.id).limit(_PAGE)).all())


def _channels(row: Any) -> list[str]:
    reachable = ["inapp", "email"] if row.email else ["inapp"]
    return [channel for channel in reachable if channel not in (row.refused or ())]


@app.task(name="usual.inapp", autoretry_for=(OSError,), retry_backoff=True)  # type: ignore[untyped-decorator]  # see above
def deliver_inapp(notification_id: int) -> None:
    with Session(engine) as session, session.begin():
        notification = _pending(session, notification_id)
        if notification is None:
            return
        event, person = notification.event, notification.subscriber
        session.add(
            InboxItem(
                notification_id=notification.id, subscriber_id=person.id, title=event.title, body=event.body
            )
        )
        counted = update(Subscriber).where(Subscriber.id == person.id).values(unread=Subscriber.unread + 1)
        session.execute(counted, execution_options={"synchronize_session": False})
        notification.status, notification.updated_at = "delivered", func.clock_timestamp()


@app.task(name="usual.email", autoretry_for=(OSError,), retry_backoff=True)  # type: ignore[untyped-decorator]  # see above
def deliver_email(notification_id: int) -> None:
    with Session(engine) as session, session.begin():
        notification = _pending(session, notification_id)
        if notification is None:
            return
        event, person = notification.event, notification.subscriber
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "no-reply@example.org", person.email, event.title
        values = {"title": event.title, "name": person.name, "body": event.body}
        mail.set_content(TEXT.render(values))
        mail.add_alternative(HTML.render(values), subtype="html")
        _smtp().send_message(mail)
        notification.status, notification.updated_at = "sent", func.clock_timestamp()


TASKS = {"inapp": deliver_inapp, "email": deliver_email}
_connections: list[smtplib.SMTP] = []


def _pending(session: Session, notification_id: int) -> Notification | None:
    """Return a notification that nobody has delivered, locked."""
    query = select(Notification).where(Notification.id == notification_id)
    notification = session.scalars(query.with_for_update(of=Notification)).one()
    return notification if notification.status == "pending" else None


def _smtp() -> smtplib.SMTP:
    """Return this process's connection, kept open."""
    if not _connections:
        _connections.append(smtplib.SMTP("127.0.0.1", int(os.environ["BENCH_SMTP_PORT"])))
    return _connections[0]
