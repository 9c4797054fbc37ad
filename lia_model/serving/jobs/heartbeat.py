"""A file that a worker touches while it lives, so that the process that answers HTTP knows it does."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

BEAT_S = 1.0
"""Time between two beats."""
MAX_SILENCE_S = 10.0
"""A worker without a beat for so long counts as dead; a busy machine may delay one by seconds."""


class Heartbeat:
    """The heartbeat of the workers that share the file at `path`, created by the first beat."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def beat(self) -> None:
        """Note that a worker lives."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def keep_beating(self, is_alive: Callable[[], bool], also: Callable[[], object] | None = None) -> None:
        """Beat in a thread of its own until `is_alive` is False, and call `also` each time."""
        self.beat()

        def run() -> None:
            while is_alive():
                try:
                    self.beat()
                    if also is not None:
                        also()
                except OSError as error:
                    logger.warning("the heartbeat %s cannot be written: %s", self.path, error)
                time.sleep(BEAT_S)

        threading.Thread(target=run, name="heartbeat", daemon=True).start()

    def is_heard(self) -> bool:
        """Return whether a worker has lived within the last `MAX_SILENCE_S`."""
        try:
            return time.time() - self.path.stat().st_mtime < MAX_SILENCE_S
        except FileNotFoundError:
            return False
