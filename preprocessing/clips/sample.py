"""Clips as samples: the metadata that the shards store, and the cut frames on their way there."""

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


class ClipSound(BaseModel):
    """The sound of one clip, the flac member of its sample: mono, from the first frame to the last one's end.

    Frame t is shown from sample `times_s[t] * rate_hz` on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rate_hz: int
    num_samples: int
    num_filled: int
    """Samples that the source lacks; they are silence."""


class ClipMetadata(ClipEntry):
    """Metadata of one clip, the json member of its sample.

    It holds no time of day and no local path, so that equal clips give equal shards.
    """

    licence: str | None
    """Terms of use, as listed."""
    split: Literal["train", "test"]
    fps: float
    """Rate at which most frames follow each other; at most `shards.fps`."""
    times_s: list[float]
    """Presentation time of each frame, from the first one."""
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
    sound: ClipSound | None = None
    """None if `shards.sound` is off, or the source has no sound there; the sample has no flac member then."""


class PreparedClip(BaseModel):
    """A kept clip with its frames, JPEG files concatenated in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    clip: ClipMetadata
    file: Path
    """The concatenated JPEG files."""
    frame_bytes: list[int]
    """Length of each JPEG file."""
    yaw_deg: list[float] | None = None
    """Yaw of the head in each frame, in degrees; None if it was measured in none."""
    signature: str
    """Signature of the recording as text, to find duplicates."""
    members: list[str] = []
    """Endings of what the sample holds beside metadata and frames, such as `flac`; each is a file beside
    `file`."""

    def member_files(self) -> dict[str, Path]:
        """Return the files of `members`, by ending."""
        return {ending: self.file.with_name(f"{self.clip.key}.{ending}") for ending in self.members}

    def frames(self) -> list[bytes]:
        """Read the JPEG files."""
        return read_frames(self.file, self.frame_bytes)


def read_frames(file: Path, frame_bytes: Sequence[int]) -> list[bytes]:
    """Return the parts of a file of concatenated JPEG files, by their lengths."""
    with file.open("rb") as data:
        return [data.read(size) for size in frame_bytes]
