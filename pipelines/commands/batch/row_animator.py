"""Animates single rows of a batch without a service: the work of one process, which loads the model once.

A finished video is tagged with what it was made of. A row whose video is there already, with that tag, is not
animated again, so that a batch that was killed goes on where it stopped whatever its results.csv knows.
"""

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lia_model.animation.failures import FAILURES, code_of, without_folders
from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.media_check import MediaChecker
from lia_model.animation.run import AnimationRun
from lia_model.registry.models import ResolvedModel, resolve
from pipelines.commands.animate import Inference, open_run
from pipelines.commands.batch.places import Downloads, is_url, joined, upload, version_of
from pipelines.commands.batch.rows import BatchRow, output_name
from pipelines.params import Params
from preprocessing.media.containers.container_tags import read_tags
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.video_reader import probe
from preprocessing.storage.object_store import StoreError

logger = logging.getLogger(__name__)

TAG = "batch_row"
"""Tag of a finished video with the mark of its row."""


@dataclass(frozen=True)
class RowSettings:
    """What the processes of a batch have in common; every machine sees its paths."""

    params: Params
    root: Path
    """Folder of the project."""
    model: ResolvedModel
    """The one version that animates the whole batch."""
    output: str
    """Folder or URL for the videos."""


@dataclass(frozen=True)
class RowOutcome:
    """What has become of a row."""

    row: BatchRow
    warnings: tuple[str, ...] = ()
    """What was wrong with the files of a row that succeeded all the same."""
    is_new: bool = True
    """Whether it was animated now, not found finished."""


class RowAnimator:
    """Animates rows with one model, loaded when this is made."""

    def __init__(self, settings: RowSettings) -> None:
        self._output = settings.output
        self._run = _open_run(settings)
        self._checker = MediaChecker(settings.params.serve.media)
        self._folder = tempfile.TemporaryDirectory(prefix="lia-batch-")
        self._downloads = Downloads(Path(self._folder.name, "inputs"))

    def close(self) -> None:
        """End the processes that check files, and remove the downloads."""
        self._checker.close()
        self._folder.cleanup()

    def animate(self, row: BatchRow) -> RowOutcome:
        """Animate a row, unless that was done before; whatever goes wrong fails this row alone."""
        try:
            return self._animate(row)
        except StoreError as error:
            return _failed(row, "storage", str(error))
        except Exception as error:
            logger.exception("%s by %s failed unexpectedly", row.source, row.driving)
            return _failed(row, "internal", f"{type(error).__name__}: {error}")

    def _animate(self, row: BatchRow) -> RowOutcome:
        versions = [version_of(place) for place in (row.source, row.driving)]
        for place, version in zip((row.source, row.driving), versions, strict=True):
            if version is None:
                return _failed(row, "not_found", f"there is no file {place}")
        target = joined(self._output, f"{output_name(row)}.mp4")
        mark = _mark(row, versions, self._run)
        num_frames = self._frames_made(target, mark)
        if num_frames is not None:
            return RowOutcome(_succeeded(row, target, num_frames), is_new=False)
        source, driving = (self._downloads.local(place) for place in (row.source, row.driving))
        produced = Path(self._folder.name, "result.mp4") if is_url(target) else Path(target)
        try:
            for path in (source, driving):
                self._checker.check(path)
            request = AnimationRequest(source, driving, produced, row.options, tags={TAG: mark})
            result = animate_file(self._run, request)
        except FAILURES as error:
            return _failed(row, code_of(error), without_folders(error, (source, driving, produced)))
        if is_url(target):
            upload(produced, target)
        return RowOutcome(_succeeded(row, target, result.num_frames), result.warnings)

    def _frames_made(self, target: str, mark: str) -> int | None:
        """Return the number of frames of the row's video; None if it is to be animated."""
        if version_of(target) is None:
            return None
        path = Path(target)
        try:
            if is_url(target):
                path = Downloads(Path(self._folder.name, "made"), max_num=1).local(target)
            return probe(path).num_frames if read_tags(path).get(TAG) == mark else None
        except UnreadableVideoError:
            return None


def _open_run(settings: RowSettings) -> AnimationRun:
    model = settings.model
    # Machines without the file get it from the registry.
    if not model.directory.is_dir() and model.version is not None:
        model = resolve(model.uri)
    serve = settings.params.serve
    inference = Inference(
        model.uri, "auto", "auto", serve.compilation, serve.video_decoder, serve.video_encoder
    )
    return open_run(settings.params, settings.root, inference, model)


def _mark(row: BatchRow, versions: Sequence[str | None], run: AnimationRun) -> str:
    """Return what is the same only for the same animation of the same files by the same model."""
    asked = (row.key, versions, run.model, run.animator.fingerprint)
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def _succeeded(row: BatchRow, target: str, num_frames: int) -> BatchRow:
    return replace(row, status="succeeded", output=target, frames=num_frames, error="")


def _failed(row: BatchRow, code: str, message: str) -> RowOutcome:
    error = f"{code}: {' '.join(message.split())}"
    return RowOutcome(replace(row, status="failed", output="", frames=0, error=error))
