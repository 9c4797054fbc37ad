"""The portraits that sliders move, in the memory of the process that answers HTTP.

Each is the square that the model sees, a few kilobytes of PNG. Every call hands it to the model, so that a
model replica that restarts, or another one, goes on where the last one stopped.
"""

import threading
from collections import OrderedDict

from lia_model.serving.access.scopes import Caller
from lia_model.serving.jobs.job import new_id

MAX_NUM_PORTRAITS = 256
"""The ones that have not been used for longest are forgotten."""


class Portraits:
    """Portraits by an id that cannot be guessed, each of one owner."""

    def __init__(self, max_num: int = MAX_NUM_PORTRAITS) -> None:
        self._max_num = max_num
        self._pictures: OrderedDict[str, tuple[str | None, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, picture: bytes, owner: str | None) -> str:
        """Keep a portrait of `owner` and return its id."""
        portrait_id = new_id()
        with self._lock:
            self._pictures[portrait_id] = owner, picture
            while len(self._pictures) > self._max_num:
                self._pictures.popitem(last=False)
        return portrait_id

    def get(self, portrait_id: str, caller: Caller) -> bytes | None:
        """Return a portrait; None if it was never there, is forgotten or not one that the caller sees."""
        with self._lock:
            owner, picture = self._pictures.get(portrait_id, (None, None))
            if picture is None or not caller.sees(owner):
                return None
            self._pictures.move_to_end(portrait_id)
            return picture
