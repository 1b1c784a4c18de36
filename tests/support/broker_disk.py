"""What a RabbitMQ node has on disk."""

from carillon_local.rabbitmq import RabbitmqServer


def queue_on_disk(server: RabbitmqServer, queue: str) -> bool:
    """Tell whether the node would find a quorum queue again after a kill.

    RabbitMQ 3.10 answers a declaration about three seconds before its register of quorum queues is on disk.
    Killed in between, it comes back with a queue that never gets a leader. Messages are safe from their
    confirm on.
    """
    names = server.folder / "data" / server.node_name / "quorum" / server.node_name / "names.dets"
    return f"_{queue}".encode() in names.read_bytes()
