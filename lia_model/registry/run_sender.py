"""Sends a run's journal to MLflow and keeps what could not be sent for later.

The file of what was sent stands beside the journal. Whatever is sent again, since a process was killed before
it noted it, has the same time as before: MLflow's database keeps it once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lia_model.registry.outages import reason_of
from lia_model.registry.run_journal import PICTURES, entries
from lia_model.registry.runs import PARENT_TAG, Logged, Run, log_dataset, open_run
from preprocessing.background import in_background
from preprocessing.storage.files import write_atomically

OPENING = "run.json"
SENT = "sent.json"
INTERVAL_S = 2.0
MAX_INTERVAL_S = 30.0
MAX_ENTRIES = 200

log = logging.getLogger(__name__)


class TrackingError(RuntimeError):
    """MLflow cannot be reached, or refuses what it is sent."""


class DataSet(BaseModel, frozen=True):
    """The data set a run trains on; see `runs.log_dataset`."""

    name: str
    digest: str
    source: str
    profile: dict[str, Any]


class RunOpening(BaseModel, frozen=True):
    """What opens a run in MLflow, as plain values."""

    name: str
    """The run's name, unique within the experiment."""
    artifacts: str
    """Absolute folder of the experiment's files."""
    params: dict[str, Any]
    tags: dict[str, str]
    description: str = ""
    """Markdown, shown with the run."""
    data_set: DataSet | None = None
    source_keys: list[str] = []
    """Videos the model is trained on."""
    earlier_run_id: str | None = None
    """Run of the checkpoint that training starts from, whose videos count too."""


class RunSender:
    """Opens a run and sends its journal; of several processes one sends at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def describe(self, opening: RunOpening) -> None:
        """Note what opens the run; the next `send` opens it, or opens it again."""
        content = {"opening": opening.model_dump(), "status": "RUNNING", "is_told": False}
        self._write(OPENING, content)

    def finish(self, status: str) -> None:
        """Note how the run ended, FINISHED, FAILED or KILLED; MLflow is told after all of its journal."""
        self._write(OPENING, self._read(OPENING) | {"status": status, "is_told": False})

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None until it was opened."""
        return self._read(SENT).get("run_id")

    @property
    def name(self) -> str:
        """The run's name."""
        return self._read(OPENING)["opening"]["name"]

    def num_waiting(self) -> int:
        """Return how many lines of the journal MLflow has not been sent."""
        return sum(1 for _ in entries(self._folder, self._read(SENT).get("offset_bytes", 0)))

    def is_done(self) -> bool:
        """Return whether MLflow knows all, the run's end included."""
        return bool(self._read(OPENING).get("is_told")) and self.num_waiting() == 0

    def send(self) -> str:
        """Open the run if it was not yet, send what waits, and return the run's id.

        Raises:
            TrackingError: MLflow cannot be reached or refuses; what it did not take waits for the next call.
        """
        from mlflow import MlflowException

        with self._lock, self._exclusive():
            try:
                return self._send()
            except (MlflowException, OSError) as error:
                reason = reason_of(error)
                raise TrackingError(f"MLflow does not take the run's values: {reason}") from error

    def _send(self) -> str:
        told, sent = self._read(OPENING), self._read(SENT)
        if sent.get("run_id") is None or (told["status"] == "RUNNING" and not told["is_told"]):
            sent = self._open(told, sent)
        run = Run(sent["run_id"])
        logged = run.logged() if sent["was_found"] else Logged()
        for group, offset_bytes in _groups(self._folder, sent["offset_bytes"]):
            run.log_entries(group, self._folder, logged)
            sent |= {"offset_bytes": offset_bytes}
            self._write(SENT, sent)
        if not told["is_told"]:
            run.set_status(told["status"])
            # Noted only if nothing else was noted in the meantime.
            if self._read(OPENING) == told:
                self._write(OPENING, told | {"is_told": True})
        return run.run_id

    def _open(self, told: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
        opening = RunOpening.model_validate(told["opening"])
        earlier = {} if opening.earlier_run_id is None else {PARENT_TAG: opening.earlier_run_id}
        artifacts, tags = Path(opening.artifacts), opening.tags | earlier
        run = open_run(opening.name, artifacts, opening.params, tags, opening.description)
        if sent.get("run_id") == run.run_id:
            return sent
        data_set = opening.data_set
        if data_set is not None:
            log_dataset(run, **data_set.model_dump())
        keys = set(opening.source_keys)
        if opening.earlier_run_id is not None:
            keys |= Run(opening.earlier_run_id).source_keys()
        run.log_source_keys(keys)
        # Another checkout, or this one before its journal was removed, may have sent some of its values.
        was_found = bool(run.metric_names())
        sent = {"run_id": run.run_id, "offset_bytes": 0, "was_found": was_found}
        self._write(SENT, sent)
        return sent

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with (self._folder / "sending.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, name: str) -> dict[str, Any]:
        path = self._folder / name
        return json.loads(path.read_text()) if path.is_file() else {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        with write_atomically(self._folder / name) as file:
            file.write_text(json.dumps(content, indent=1) + "\n")


def _groups(folder: Path, offset_bytes: int) -> Iterator[tuple[list[dict[str, Any]], int]]:
    group: list[dict[str, Any]] = []
    for entry, end_bytes in entries(folder, offset_bytes):
        group.append(entry)
        offset_bytes = end_bytes
        if len(group) == MAX_ENTRIES:
            yield group, offset_bytes
            group = []
    if group:
        yield group, offset_bytes


def sending(senders: Callable[[], Iterable[RunSender]]) -> AbstractContextManager[None]:
    """Send in a thread while the block runs; an outage is told once, and tried again ever more rarely.

    Args:
        senders: returns the senders to serve, anew each time: a sweep gets runs as it goes on.
    """

    def keep_sending(stop: threading.Event) -> None:
        pause_s, is_out = INTERVAL_S, False
        while not stop.wait(pause_s):
            try:
                for sender in senders():
                    sender.send()
            except TrackingError as error:
                if not is_out:
                    log.warning("%s; training goes on, and they wait on disk until it is back", error)
                pause_s, is_out = min(2 * pause_s, MAX_INTERVAL_S), True
            else:
                if is_out:
                    log.info("MLflow is back and has all values of the run")
                pause_s, is_out = INTERVAL_S, False

    return in_background(keep_sending, "MLflow sender")


def waiting_senders(folders: Sequence[Path]) -> list[RunSender]:
    """Return the senders of those `folders` that hold a run of which MLflow does not know all."""
    known = [RunSender(folder) for folder in folders if (folder / OPENING).is_file()]
    return [sender for sender in known if not sender.is_done()]


def unsent_pictures(folders: Sequence[Path], source_keys: Collection[str]) -> list[Path]:
    """Return the folders of pictures, not yet sent, of the journals whose runs train on any of the videos."""
    found = []
    for folder in folders:
        path = folder / OPENING
        opening = json.loads(path.read_text())["opening"] if path.is_file() else {}
        if not set(opening.get("source_keys", ())).isdisjoint(source_keys):
            found.append(folder / PICTURES)
    return found
