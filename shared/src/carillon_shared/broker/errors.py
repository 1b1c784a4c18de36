"""What can go wrong between us and the broker."""


class BrokerError(Exception):
    """Base of everything this package raises."""


class ConnectionLostError(BrokerError):
    """The connection or broker channel went away. What was under way has an unknown outcome."""


class PublishError(BrokerError):
    """A message was not published, or nobody knows. `message_id` says which."""

    def __init__(self, message_id: str, detail: str) -> None:
        super().__init__(f"message {message_id}: {detail}")
        self.message_id = message_id
        self.detail = detail


class UnroutableError(PublishError):
    """No queue is bound for this exchange and key: the topology is not what the code expects."""


class PublishUnconfirmedError(PublishError):
    """The broker has not confirmed. It may have the message: publish it again with the same id."""


class PublishRefusedError(PublishUnconfirmedError):
    """The broker said no (basic.nack), for instance because a queue is full. It does not have the message."""


class NotConnectedError(PublishUnconfirmedError):
    """There is no connection; the message has not left the process."""
