"""What the local backend raises."""


class LocalError(RuntimeError):
    """Something on this machine keeps the platform from starting; the text is for the person there."""
