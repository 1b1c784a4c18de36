"""The usual way: a Celery task per delivery, which writes one row, acknowledged after the commit.

Configured as well as Celery allows: acks late, deep prefetch, no results, no events, JSON, prefork with one
process a core and one prepared connection each, and a classic durable queue, on which it is half as fast
again as on a quorum queue.
"""

import os
from typing import Any

import psycopg
from celery import Celery
from celery.signals import worker_process_init

QUEUE = "bench.celery"
_INSERT = """
    INSERT INTO bench.status (id, event_id, tenant, channel, attempt)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING
"""

app = Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
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
    broker_transport_options={"confirm_publish": True},
)

_connections: list["psycopg.Connection[Any]"] = []


@worker_process_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def connect(**_: Any) -> None:
    _connections.append(
        psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True, prepare_threshold=0)
    )


@app.task(name="bench.deliver")  # type: ignore[untyped-decorator]  # Celery has no types
def deliver(
    event_id: str, tenant: str, channel: str, attempt: int, delivery_ids: list[str], **_: Any
) -> None:
    _connections[0].execute(_INSERT, (delivery_ids[0], event_id, tenant, channel, attempt))
