"""Why the job store takes no order."""


class QueueFullError(Exception):
    """The queue would exceed its limit.

    Args:
        num_over: by how many jobs.
    """

    def __init__(self, num_over: int) -> None:
        super().__init__(num_over)
        self.num_over = num_over


class KeyReusedError(Exception):
    """An idempotency key came before, with another animation.

    Args:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key
