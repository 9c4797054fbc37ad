"""Settings of the stages download and shards; `params.yaml` is the only place of their values."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """A frozen group of settings in which a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DownloadSettings(Settings):
    """How sources are fetched."""

    sources: Path
    """CSV file that lists the sources, relative to the project."""
    format: str
    """yt-dlp format expression; use `<=?`, since a plain `<=` fails on direct links."""
    format_sort: tuple[str, ...]
    """yt-dlp's order of preference among the formats that match."""
    timeout_s: Annotated[float, Field(gt=0)]
    """Wall clock for one source, verification included; its process group is killed after that."""
    max_bytes: PositiveInt
    """Largest file to accept."""
    num_retries: Annotated[int, Field(ge=0)]
    """Further attempts after a failure that may pass by itself."""
    retry_delay_s: Annotated[float, Field(ge=0)]
    """Pause before the first of these attempts; doubled for each further one."""
    num_parallel: PositiveInt
    """Sources fetched at the same time."""
    allow_private_hosts: tuple[str, ...]
    """Host names or addresses that may be private or loopback; all other such hosts are refused."""
    accept_incomplete: bool
    """Whether the stage succeeds while some sources failed in a way that a rerun may mend."""


class DetectSettings(Settings):
    """How faces are found."""

    models: Path
    """Folder of insightface-compatible ONNX files with a face detector, relative to the project."""
    every_num_frames: PositiveInt
    """Analyse each k-th frame; boxes between are interpolated."""
    min_score: Fraction01
    """Least confidence of a face."""
    pad_px: Annotated[int, Field(ge=0)]
    """Border added around the frame, since the detector misses faces that fill it."""


class TrackSettings(Settings):
    """How faces become tracks, and tracks become tubes."""

    min_iou: Fraction01
    """Least overlap of a face with a track's last face to join it."""
    max_gap_num_frames: PositiveInt
    """Longest time without a face that a track survives."""
    close_iou: Fraction01
    """A tube closes when its box overlaps its first box by less than this."""
    max_num_frames: PositiveInt
    """A tube closes at this length."""


class CropSettings(Settings):
    """Which square is cut out."""

    rule: Literal["fomm_square"]
    """`fomm_square`: one square for the clip, around the union of its boxes."""
    size_px: Annotated[int, Field(ge=8)]
    """Side of the stored frames."""
    scale: Annotated[float, Field(ge=1)]
    """Side of the square over the longer side of the union of boxes."""
    outside: Literal["drop", "pad"]
    """What happens to a clip whose square leaves the frame."""
    min_size_px: PositiveInt
    """Least longer side of the union of boxes, before enlarging."""


class QualitySettings(Settings):
    """Which clips are good enough."""

    min_num_frames: PositiveInt
    """Shortest clip."""
    min_mean_score: Fraction01
    """Least mean confidence of a clip's faces."""


class ShardsSettings(Settings):
    """How raw videos become shards of face-cropped clips."""

    fps: PositiveInt
    """Frame rate of the clips; source frames are picked by presentation time."""
    shard_bytes: PositiveInt
    """Target size of one shard; a source's clips stay together even when they are larger."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    """Quality of the stored frames (4:4:4)."""
    test_fraction: Fraction01
    """Share of the identities with split `auto` that go to test."""
    seed: int
    """Which identities these are."""
    num_parallel: PositiveInt
    """Sources processed at the same time."""
    detect: DetectSettings
    """How faces are found."""
    track: TrackSettings
    """How faces become tubes."""
    crop: CropSettings
    """Which square is cut out."""
    quality: QualitySettings
    """Which clips are kept."""
