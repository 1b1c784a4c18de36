"""The answer to an event that its type refuses for now."""

import orjson

from carillon_api.errors import Problem
from carillon_api.intake.rows import IntakeRow


def throttled(row: IntakeRow) -> Problem:
    """Return the 429 problem, with the limit as RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10).

    The window slides, so the whole of it is the longest that one has to wait.
    """
    limit = orjson.loads(row.throttle or "{}")
    quota, seconds = limit["limit"], limit["per_seconds"]
    headers = {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"event-type";q={quota};w={seconds}',
        "RateLimit": f'"event-type";r=0;t={seconds}',
    }
    detail = f"At most {quota} events of this type within {seconds} s reach one person."
    return Problem("throttled", "The event type's limit is reached.", 429, detail, headers=headers)
