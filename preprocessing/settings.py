"""Settings of the stages download and shards; `params.yaml` is the only place of their values."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]


Own = TypeVar("Own", bound="Settings")


class Settings(BaseModel):
    """A frozen group of settings in which a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def with_paths_under(self: Own, root: Path) -> Own:
        """Return a copy whose relative paths, those of nested settings included, are taken from `root`."""
        changed: dict[str, Any] = {}
        for name, value in self:
            if isinstance(value, Path):
                changed[name] = root / value
            elif isinstance(value, Settings):
                changed[name] = value.with_paths_under(root)
        return self.model_copy(update=changed)


class DownloadSettings(Settings):
    """How sources are fetched."""

    sources: Path
    """CSV file that lists the sources, relative to the project."""
    bad_rows: Literal["stop", "skip"]
    """Whether rows that cannot be used stop the stage before it starts, or are named, counted and
    left out."""
    format: str
    """yt-dlp format expression; use `<=?`, since a plain `<=` fails on direct links."""
    format_sort: tuple[str, ...]
    """yt-dlp's order of preference among the formats that match."""
    timeout_s: Annotated[float, Field(gt=0)]
    """Wall clock for one source, verification included; its process group is killed after that."""
    max_bytes: PositiveInt
    """Largest file to accept."""
    max_memory_bytes: PositiveInt
    """Most memory for one source, verification included; its process group is killed above that."""
    num_retries: Annotated[int, Field(ge=0)]
    """Further attempts after a failure that may pass by itself."""
    retry_delay_s: Annotated[float, Field(ge=0)]
    """Pause before the first of these attempts; doubled for each further one."""
    num_parallel: PositiveInt
    """Sources fetched at the same time."""
    max_per_hour: dict[str, PositiveInt]
    """Most requests an hour by host; a host's name stands for all names below it, and reruns count on."""
    request_pause_s: NonNegative
    """Least time between the beginnings of two requests of one host."""
    max_bytes_per_s: PositiveInt | None
    """Most bytes a second of one download; None sets no limit."""
    host_pause_s: NonNegative
    """Pause for a host that refuses us as a robot or as too frequent and does not say for how long; doubled
    for each further one."""
    max_host_pauses: Annotated[int, Field(ge=0)]
    """After so many pauses without a good answer between, a host is left alone for the rest of the run."""
    cookies: Path | None
    """File in Netscape's format, relative to the project, that lets sites know you; None sends none."""
    proxy: str | None
    """Address of a proxy for everything; None asks hosts directly. Behind one, the hosts that a redirect
    leads to are its to refuse; we refuse private hosts in the list, and connect to nothing but the proxy."""
    js_runtime: Annotated[str, Field(pattern=r"^(deno|node|bun|quickjs)(:.+)?$")] | None
    """Program that runs YouTube's scripts, `deno`, `node`, `bun` or `quickjs`, or with its path,
    `node:/opt/node`; None runs none."""
    allow_private_hosts: tuple[str, ...]
    """Host names or addresses that may be private or loopback; all other such hosts are refused."""
    local_root: Path | None
    """Folder whose videos may be listed by file:// addresses, absolute or relative to the project; None
    allows none."""
    accept_incomplete: bool
    """Whether the stage succeeds while some sources failed in a way that a rerun may mend."""


class DetectSettings(Settings):
    """How faces are found."""

    models: Path
    """Folder of insightface-compatible ONNX files with a face detector, relative to the project."""
    every_num_frames: PositiveInt
    """Analyse each k-th frame; boxes between are interpolated."""
    recheck_iou: Fraction01
    """Look between two analysed frames too where a face's boxes overlap by less than this."""
    min_score: Fraction01
    """Least confidence of a face."""
    pad_px: Annotated[int, Field(ge=0)]
    """Border added around the frame, since the detector misses faces that fill it."""


class IdentitySettings(Settings):
    """How faces are told apart."""

    models: Path | None
    """Folder of dlib's networks, relative to the project; a recognition model beside the detector goes first.
    None tells nobody apart: the list's identity column is believed."""
    max_distance: Annotated[float, Field(gt=0)] | None
    """Greatest distance of two embeddings of one person; None takes the network's own."""
    across_sources: bool
    """Whether people are looked for in all sources together, so that nobody is in two splits."""


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

    rule: Literal["fomm_square", "fomm_stretch", "csv_squared", "body", "none"]
    """`fomm_square`: one square for the clip, `scale` times the longer side of the union of its face's boxes.
    No faces are looked for with the others: `fomm_stretch` stretches the list's bbox to a square, as the
    published preparation does; `csv_squared` and `body` widen it to one; `none` takes the frame's middle."""
    size_px: Annotated[int, Field(ge=8)]
    """Side of the stored frames."""
    scale: Annotated[float, Field(ge=1)]
    """Side of the square over the longer side of the union of boxes, for `fomm_square`."""
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
    min_sharpness: NonNegative | None
    """Least median variance of the Laplacian of the face, which is `blurry` below."""
    min_brightness: NonNegative | None
    """Least median luma of the face, 0 to 255, which is `dark` below."""
    max_yaw_deg: NonNegative | None
    """Greatest median angle to the left or right, which is an `extreme_pose` above."""
    max_other_face: Fraction01 | None
    """Largest share of the crop that another face may cover; `multiple_faces` above."""
    min_motion: NonNegative | None
    """Least mean change of the face between analysed frames, of 255; a photograph is `static` below."""
    max_duplicate_distance: Fraction01 | None
    """Clips of two videos whose perceptual hashes differ in at most this share of bits are one clip twice:
    the `duplicate` is left out."""


class ShardsSettings(Settings):
    """How raw videos become shards of face-cropped clips."""

    fps: PositiveInt
    """Frame rate of the clips; source frames are picked by presentation time."""
    shard_bytes: PositiveInt
    """Mean size of a shard; a source's clips stay together even when they are larger."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    """Quality of the stored frames (4:4:4)."""
    test_fraction: Fraction01
    """Share of the identities with split `auto` that go to test."""
    seed: int
    """Which identities these are."""
    num_parallel: PositiveInt
    """Sources processed at the same time, here or on the Ray cluster that LIA_RAY_ADDRESS names."""
    timeout_s: Annotated[float, Field(gt=0)]
    """Wall clock for one source; its process is killed after that."""
    detect: DetectSettings
    """How faces are found."""
    identity: IdentitySettings
    """How people are told apart."""
    track: TrackSettings
    """How faces become tubes."""
    crop: CropSettings
    """Which square is cut out."""
    quality: QualitySettings
    """Which clips are kept."""
