"""Clips as samples: the metadata that the shards store, and the cut frames on their way there."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, SupportsBytes

from pydantic import BaseModel, ConfigDict


class ClipEntry(BaseModel):
    """What the index of a split lists of a clip."""

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
    """A kept clip with its frames, picture files concatenated in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    clip: ClipMetadata
    file: Path
    """The concatenated picture files, `<key>.<ending>s`."""
    frame_bytes: list[int]
    """Length of each picture file."""
    frames_sha256: str
    """Hash of `file`."""
    yaw_deg: list[float] | None = None
    """Yaw of the head in each frame, in degrees; None if it was measured in none."""
    signature: str
    """Signature of the recording as text, to find duplicates."""
    members: dict[str, str] = {}
    """Hashes of what the sample holds beside metadata and frames, by ending, such as `flac`; each is a file
    beside `file`."""

    @property
    def frame_ending(self) -> str:
        """Return the ending of a frame's file in a shard, without a dot."""
        return self.file.suffix[1:].removesuffix("s")

    def member_files(self) -> dict[str, Path]:
        """Return the files of `members`, by ending."""
        return {ending: member_file(self.file, ending) for ending in self.members}

    def frames(self) -> list[bytes]:
        """Read the picture files."""
        return read_frames(self.file, self.frame_bytes)

    def kept(self) -> "KeptClip":
        """Return what decisions about the clip need."""
        clip = self.clip
        left, top, right, bottom = clip.crop_box
        content = self.model_dump_json(exclude={"file", "signature"})
        return KeptClip(
            key=clip.key,
            source_key=clip.source_key,
            url=clip.url,
            identity=clip.identity,
            by_time=clip.by_time,
            follows=clip.follows,
            start_s=clip.start_s,
            end_s=clip.end_s,
            num_frames=clip.num_frames,
            split=clip.split,
            num_bytes=sum(self.frame_bytes),
            num_source_pixels=(right - left) * (bottom - top) * clip.num_frames,
            has_yaw=self.yaw_deg is not None,
            signature=base64.b85decode(self.signature),
            content=hashlib.sha256(content.encode()).digest(),
            folder=self.file.parent,
        )

    def assigned(self, kept: "KeptClip") -> "PreparedClip":
        """Return the clip with the identity and the split that were assigned to it."""
        changes = {"identity": kept.identity, "split": kept.split, "follows": kept.follows}
        return self.model_copy(update={"clip": self.clip.model_copy(update=changes)})


class KeptClip(NamedTuple):
    """A kept clip without anything that it has per frame, since a run decides about millions of them.

    Fields without a description are those of `ClipMetadata`.
    """

    key: str
    source_key: str
    url: str
    identity: str | None
    by_time: bool
    follows: str | None
    start_s: float
    end_s: float
    num_frames: int
    split: Literal["train", "test"]
    num_bytes: int
    """Of its frames together."""
    num_source_pixels: int
    """How much of the source it shows: area of its square, times frames."""
    has_yaw: bool
    """Whether the yaw of the head is known."""
    signature: SupportsBytes
    """Signature of the recording, to find duplicates; see `Signature.from_bytes`."""
    content: bytes
    """Hash of frames and metadata, before identity and split are assigned."""
    folder: Path
    """Its source's folder of clips, from which the whole clip is read."""


def member_file(file: Path, ending: str) -> Path:
    """Return the file of a clip's member, beside the file of its frames."""
    return file.with_suffix(f".{ending}")


def read_frames(file: Path, frame_bytes: Sequence[int]) -> list[bytes]:
    """Return the parts of a file of concatenated picture files, by their lengths."""
    with file.open("rb") as data:
        return [data.read(size) for size in frame_bytes]
