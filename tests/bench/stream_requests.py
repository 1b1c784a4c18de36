"""Requests that open streams."""

import time

import jwt
from bench.workload import TENANT

TOPIC = "job"
_LIFE_SECONDS = 3_500  # of a token; at most an hour
_HEAD = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"


def to_carillon(number: int, *, secret: str, topic: str) -> str:
    """Return the request of one person, who follows this topic, or (empty) none."""
    now = int(time.time())
    claims = {
        "aud": "carillon",
        "sub": f"user-{number}",
        "tid": TENANT,
        "iat": now,
        "exp": now + _LIFE_SECONDS,
    }
    token = jwt.encode(claims | {"topics": [topic]}, secret, algorithm="HS256")
    query = f"?topics={topic}" if topic else ""
    return f"GET /v1/inbox/stream{query} {_HEAD}Authorization: Bearer {token}\r\n\r\n"


def to_path(path: str) -> str:
    """Return a request without credentials."""
    return f"GET {path} {_HEAD}\r\n"
