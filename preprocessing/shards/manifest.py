"""manifest.json: what a folder of shards holds; its only reader and writer.

Keys are sorted, and it holds no time of day and no local path: equal shards have equal manifests. Imports no
more than pydantic, since training machines read it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from preprocessing.clips.sample import ClipEntry
from preprocessing.settings import CropRule, Outside

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
LABELS_ONLY = "only the labels of the list were compared, by an earlier version of this program"
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
    name: str
    """File name within the split's folder."""
    sha256: str
    """Hash of the file."""


class SplitListing(_Part):
    """The tars of a split and the clips in them, in the order of the split's index."""

    clips: list[ClipEntry]
    tars: list[TarEntry]


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
    format_version: Literal[1]
    draw: str = ""
    """Seed and test_fraction of the splits; empty if an earlier version wrote it."""
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

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, content: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Take what an earlier version claimed after comparing labels alone for what it is."""
        if not isinstance(content, dict) or "identity_disjoint_reason" in content:
            return content
        if content.get("identity_disjoint") is False:
            return content | {"identity_disjoint_reason": "some videos were split by time"}
        return content | {"identity_disjoint": None, "identity_disjoint_reason": LABELS_ONLY}

    def split(self, split: Split) -> SplitListing:
        """Return the listing of one split."""
        return self.splits.train if split == "train" else self.splits.test


def read_manifest(shards: Path) -> Manifest:
    """Read the manifest of a folder of shards.

    Raises:
        ValueError: there is none, it is damaged, or it has another format version.
    """
    path = shards / MANIFEST_NAME
    remedy = "make the shards again with `lia shards`"
    if not path.is_file():
        raise ValueError(f"{shards} holds no {MANIFEST_NAME}: make the shards first with `lia shards`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"got {path}, which is not valid JSON ({error}); {remedy}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"got {path} with format_version {version}; this program reads {FORMAT_VERSION}; {remedy}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"got {path} with a wrong {place}: {first['msg']}; {remedy}") from None


def write_manifest(shards: Path, manifest: Manifest) -> None:
    """Write the manifest; the caller makes the whole folder appear at once."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True)
    (shards / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def data_digest(manifest: Manifest) -> str:
    """Return a hash of the data set: of its manifest, which holds the hash of every shard."""
    text = json.dumps(manifest.model_dump(mode="json"), sort_keys=True)
    # MD5, since MLflow's digests have at most 36 characters.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
