"""What a clip is: its metadata as stored in the shards, and its frames on the way there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ClipMetadata(BaseModel):
    """Metadata of one clip, the json member of its sample; no time of day and no local path is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    key: str
    """Name of the sample; without dots, since webdataset's keys end at the first one."""
    source_key: str
    """sha1 of the source's address."""
    url: str
    """Where the video came from."""
    licence: str | None
    """Its terms, as the list of sources has them."""
    identity: str | None
    """Who it shows, as the list of sources has it."""
    split: Literal["train", "test"]
    """Where it belongs."""
    by_time: bool
    """Whether the source was divided by time, so that train and test show the same person."""
    follows: str | None
    """Key of the train clip that this test clip continues, with the same crop."""
    start_s: float
    """First frame's time in the source."""
    end_s: float
    """End of the last frame."""
    num_frames: int
    """How many frames follow."""
    fps: int
    """Their rate."""
    size_px: int
    """Side of the frames."""
    crop_rule: str
    """Name of the crop rule."""
    crop_box: tuple[int, int, int, int]
    """Left, top, right, bottom in the source's frame; may reach outside it."""
    frame_size_px: tuple[int, int]
    """Width and height of the source's frame."""
    mean_score: float
    """Mean confidence of the detected faces."""


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
