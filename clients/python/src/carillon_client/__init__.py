"""A client of Carillon, blocking (`Carillon`) and asynchronous (`AsyncCarillon`).

from carillon_client import Carillon, Event

with Carillon("http://127.0.0.1:8080", key) as carillon:
    carillon.send(Event("ticket.solved", {"ticket_id": 42}, users=["u-7"]))
"""

from carillon_client.aio.batching import AsyncBatcher
from carillon_client.aio.client import AsyncCarillon
from carillon_client.answers import (
    Accepted,
    Attempt,
    Cancelled,
    Decided,
    Delivery,
    DeliveryCancelled,
    EventDetail,
    Progress,
    Receipt,
    StoredEvent,
)
from carillon_client.blocking.batching import Batcher
from carillon_client.blocking.client import Carillon
from carillon_client.dead_letters import (
    DeadLetter,
    DeadLetterCount,
    DeadLetterDetail,
    DeadLetterFilter,
    DeadLetterPreview,
    DryRun,
    Operation,
    OperationStarted,
)
from carillon_client.errors import (
    BatcherClosedError,
    CarillonError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidContentError,
    MalformedError,
    NotFoundError,
    NotReachableError,
    Problem,
    ProblemError,
    ThrottledError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnreadableAnswerError,
)
from carillon_client.event import Event, Person, message
from carillon_client.feed import (
    ChangedCounts,
    ChangedItem,
    ChangedItems,
    Counts,
    Frame,
    InboxItem,
    ItemState,
    Notification,
    Ready,
    Reset,
    Signal,
    Update,
)
from carillon_client.following import UnreadableFrameError
from carillon_client.gathering import BatchLimits
from carillon_client.ids import new_id
from carillon_client.people import Imported, Subscriber, Token
from carillon_client.retrying import ONCE, RetryPolicy
from carillon_client.sending import Sent

__all__ = [
    "ONCE",
    "Accepted",
    "AsyncBatcher",
    "AsyncCarillon",
    "Attempt",
    "BatchLimits",
    "Batcher",
    "BatcherClosedError",
    "Cancelled",
    "Carillon",
    "CarillonError",
    "ChangedCounts",
    "ChangedItem",
    "ChangedItems",
    "ConflictError",
    "Counts",
    "DeadLetter",
    "DeadLetterCount",
    "DeadLetterDetail",
    "DeadLetterFilter",
    "DeadLetterPreview",
    "Decided",
    "Delivery",
    "DeliveryCancelled",
    "DryRun",
    "Event",
    "EventDetail",
    "FieldError",
    "ForbiddenError",
    "Frame",
    "Imported",
    "InboxItem",
    "InvalidContentError",
    "ItemState",
    "MalformedError",
    "NotFoundError",
    "NotReachableError",
    "Notification",
    "Operation",
    "OperationStarted",
    "Person",
    "Problem",
    "ProblemError",
    "Progress",
    "Ready",
    "Receipt",
    "Reset",
    "RetryPolicy",
    "Sent",
    "Signal",
    "StoredEvent",
    "Subscriber",
    "ThrottledError",
    "Token",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnreadableAnswerError",
    "UnreadableFrameError",
    "Update",
    "message",
    "new_id",
]
