"""The golden pair of a version: a held-out source and driving frames with their result, kept with its run.

Whoever loads the version computes the result again and compares: other weights, other code or a broken device
give other frames. `lia forget` removes the pairs that show a video taken down; the version then has none.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8

from lia_model.registry.models import tag_version, version_tags
from lia_model.registry.runs import GOLDEN, Run, mlflow_client
from lia_model.settings import Mode
from preprocessing.storage.files import file_sha256, write_atomically

PATH_TAG, SHA256_TAG = "lia.golden", "lia.golden_sha256"
"""Tags of a version: its pair's path among the artifacts of its run, and the hash of that file."""

Frames = UInt8[np.ndarray, "T S S 3"]
Animate = Callable[[np.ndarray, np.ndarray, Mode], Iterable[np.ndarray]]
"""As `Animator.animate`: source, driving frames and mode to frames."""


class GoldenPairError(Exception):
    """A model gives another result for its golden pair than it did when it was released."""


@dataclass(frozen=True)
class GoldenPair:
    """What a version once made of a source and driving frames, all RGB."""

    source: UInt8[np.ndarray, "S S 3"]
    driving: Frames
    mode: Mode
    result: Frames
    max_difference: float
    """Largest mean absolute difference from `result` that counts as equal, in levels of 0 to 255."""

    def difference(self, animate: Animate) -> float:
        """Return the mean absolute difference of a model's frames from the result, in levels of 0 to 255."""
        frames = np.stack(list(animate(self.source, self.driving, self.mode)))
        return float(np.abs(frames.astype(np.int16) - self.result).mean())

    def require(self, animate: Animate, model: str) -> None:
        """Check that a model gives the result.

        Args:
            animate: `Animator.animate` of the loaded model.
            model: its URI, for the message.

        Raises:
            GoldenPairError: it gives another.
        """
        difference = self.difference(animate)
        if difference > self.max_difference:
            raise GoldenPairError(
                f"{model} gives another result for its golden pair than at its release: the mean difference "
                f"is {difference:.2f} of 255 levels, allowed is {self.max_difference:g}; its files have "
                "changed, or this code or device computes wrongly: do not use it, and release the model again"
            )


def write_golden_pair(pair: GoldenPair, path: Path) -> None:
    """Write a pair as safetensors."""
    from safetensors.numpy import save_file

    arrays = {name: getattr(pair, name) for name in ("source", "driving", "result")}
    metadata = {"mode": pair.mode, "max_difference": str(pair.max_difference)}
    save_file({name: np.ascontiguousarray(frames) for name, frames in arrays.items()}, path, metadata)


def read_golden_pair(path: Path) -> GoldenPair:
    """Read a pair that `write_golden_pair` wrote."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in ("source", "driving", "result")}
    return GoldenPair(
        mode=cast("Mode", metadata["mode"]), max_difference=float(metadata["max_difference"]), **arrays
    )


def log_golden_pair(pair: GoldenPair, name: str, version: str, clips: str, run: Run) -> None:
    """Keep a pair with a version's run, and tag the version.

    Args:
        pair: the pair.
        name: registered name.
        version: registered version.
        clips: keys of the pair's clips, for the file's name.
        run: that trained the version.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{_prefix(name, version)}{clips}.safetensors"
        write_golden_pair(pair, file)
        run.log_file(file, GOLDEN)
        tags = {PATH_TAG: f"{GOLDEN}/{file.name}", SHA256_TAG: file_sha256(file)}
    tag_version(name, version, tags)


def fetch_golden_pair(name: str, version: str, folder: Path) -> Path | None:
    """Copy a version's pair into a folder and return the file; None if it has none, or no longer.

    Raises:
        GoldenPairError: the file is not the one that was kept.
    """
    # Of a store that was made anew, another model may have had this version before.
    for former in folder.glob(f"{_prefix(name, version)}*"):
        former.unlink()
    tags = version_tags(name, version)
    path, run_id = tags.get(PATH_TAG), mlflow_client().get_model_version(name, version).run_id
    if path is None or not run_id or path not in Run(run_id).file_names(GOLDEN):
        return None
    with tempfile.TemporaryDirectory() as temporary:
        fetched = Run(run_id).fetch_file(path, Path(temporary))
        if file_sha256(fetched) != tags.get(SHA256_TAG):
            raise GoldenPairError(
                f"the golden pair of models:/{name}/{version} has changed since its release: release the "
                "model again"
            )
        with write_atomically(folder / fetched.name) as target:
            shutil.copyfile(fetched, target)
    return folder / fetched.name


def require_golden_result(name: str, version: str, folder: Path, animate: Animate) -> None:
    """Check a loaded version with its pair, if that was fetched into a folder.

    Raises:
        GoldenPairError: it gives another result than at its release.
    """
    for file in folder.glob(f"{_prefix(name, version)}*.safetensors"):
        read_golden_pair(file).require(animate, f"models:/{name}/{version}")


def _prefix(name: str, version: str) -> str:
    return f"{name}-{version}--"
