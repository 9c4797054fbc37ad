"""manifest.json: what a folder of shards holds; its only reader and writer.

Keys are sorted, and it holds no time of day and no local path: equal shards have equal manifests. Imports no
more than pydantic, since training machines read it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from preprocessing.settings import CropRule, Outside

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
_REMEDY = "make the shards again with `lia shards`, which keeps clips and splits"
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CropFacts(_Part):
    """How the clips were cropped, which animation repeats; see `CropSettings`."""

    outside: Outside
    rule: CropRule
    scale: float


class DetectorFacts(_Part):
    """Which networks found the faces."""

    licence_note: str
    name: str
    """File names, separated by commas."""
    sha256: str
    """Hash of all these files."""


class Counts(_Part):
    """How many of each; every source and every candidate clip is counted once."""

    clips: dict[str, int]
    """Candidates by outcome, such as `kept` or `filtered(blurry)`."""
    frames: dict[str, int]
    """Kept frames by split."""
    sources: dict[str, int]
    """Sources by download status."""


class TarEntry(_Part):
    """One tar of a split."""

    bytes: int
    """Size of the file."""
    frames_sha256: str
    """Hash of the file beside it that says where its frames lie, such as 00000.npy."""
    name: str
    """File name within the split's folder."""
    num_clips: int
    num_frames: int
    recipe_sha256: str
    """Hash of all that both files are made from; what has the same recipe is not written again."""
    sha256: str
    """Hash of the file."""


class SplitListing(_Part):
    """The tars of a split; the clips in them are listed in its index."""

    index_sha256: str
    """Hash of index.npz."""
    num_by_time: int
    """Clips of sources that were divided by time."""
    num_people: int
    """Identities, and sources without one."""
    num_videos: int
    tars: list[TarEntry]

    @property
    def num_clips(self) -> int:
        """Return the number of clips in all tars."""
        return sum(tar.num_clips for tar in self.tars)

    @property
    def num_frames(self) -> int:
        """Return the number of frames in all tars."""
        return sum(tar.num_frames for tar in self.tars)


class Splits(_Part):
    """Both splits; either may be empty."""

    test: SplitListing
    train: SplitListing


class Manifest(_Part):
    """What a folder of shards holds."""

    complete: bool
    """False if sources are missing that a rerun may bring; see `download.accept_incomplete`."""
    counts: Counts
    crop: CropFacts
    detector: DetectorFacts
    format_version: Literal[2]
    draw: str
    """Seed and test_fraction of the splits."""
    fps: int
    """Frame rate of all clips."""
    identity_disjoint: bool | None
    """Whether train and test show different people. True only if they were compared by an embedder whose
    errors were measured, False if a person is in both, None if it is not known."""
    identity_disjoint_reason: str
    """Why."""
    params_sha256: str
    """Hash of the `shards` settings that decide the content."""
    size_px: int
    """Side of all frames."""
    splits: Splits

    def split(self, split: Split) -> SplitListing:
        """Return the listing of one split."""
        return self.splits.train if split == "train" else self.splits.test


def read_manifest(shards: Path) -> Manifest:
    """Read the manifest of a folder of shards.

    Raises:
        ValueError: there is none, it is damaged, or it has another format version.
    """
    content = read_content(shards)
    path, version = shards / MANIFEST_NAME, content.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"got {path} with format_version {version}; this program reads {FORMAT_VERSION}; {_REMEDY}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"got {path} with a wrong {place}: {first['msg']}; {_REMEDY}") from None


def read_content(shards: Path) -> dict[str, Any]:
    """Read the manifest of a folder of shards, of any format version.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = shards / MANIFEST_NAME
    if not path.is_file():
        raise ValueError(f"{shards} holds no {MANIFEST_NAME}: make the shards first with `lia shards`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"got {path}, which is not valid JSON ({error}); {_REMEDY}") from None
    if not isinstance(content, dict):
        raise ValueError(f"got {path}, which holds no JSON object; {_REMEDY}")
    return content


def write_manifest(shards: Path, manifest: Manifest) -> None:
    """Write the manifest; the caller makes the whole folder appear at once."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True)
    (shards / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def data_digest(manifest: Manifest) -> str:
    """Return a hash of the data set: of its manifest, which holds the hash of every shard."""
    text = json.dumps(manifest.model_dump(mode="json"), sort_keys=True)
    # MD5, since MLflow's digests have at most 36 characters.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
