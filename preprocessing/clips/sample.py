"""What a clip is: its metadata as stored in the shards, and its frames on the way there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ClipEntry(BaseModel):
    """What the manifest lists of a clip."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    key: str
    """Name of the sample; without dots, since webdataset ends a key at the first dot."""
    source_key: str
    """sha1 of the source's canonical URL."""
    url: str
    identity: str | None
    """Name of who is shown, as listed or assigned."""
    by_time: bool
    """Whether the source was divided by time, so that train and test show the same person."""
    follows: str | None
    """Key of the train clip that this test clip continues with the same crop."""
    start_s: float
    """First frame's time in the source."""
    end_s: float
    """End of the last frame."""
    num_frames: int


class ClipMetadata(ClipEntry):
    """Metadata of one clip, the json member of its sample.

    It holds no time of day and no local path, so that equal clips give equal shards.
    """

    licence: str | None
    """Terms of use, as listed."""
    split: Literal["train", "test"]
    fps: int
    size_px: int
    """Side of the square frames."""
    crop_rule: str
    """See `CropSettings.rule`."""
    crop_box: tuple[int, int, int, int]
    """Left, top, right, bottom in the source's frame; may reach beyond it."""
    frame_size_px: tuple[int, int]
    """Width and height of the source's frame."""
    mean_score: float
    """Mean confidence of the detected faces, 0 to 1."""


class PreparedClip(BaseModel):
    """A clip whose frames lie ready as JPEG, one after the other in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    clip: ClipMetadata
    """Metadata."""
    file: Path
    """The JPEG files, concatenated."""
    frame_bytes: list[int]
    """Length of each."""

    def frames(self) -> list[bytes]:
        """Read the JPEG files."""
        return split_frames(self.file, self.frame_bytes)


def split_frames(file: Path, frame_bytes: Sequence[int]) -> list[bytes]:
    """Return files that lie one after the other in one, by their lengths."""
    with file.open("rb") as data:
        return [data.read(size) for size in frame_bytes]
