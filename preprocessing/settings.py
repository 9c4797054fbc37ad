"""Settings of the stages download and shards; their values are in `params.yaml` only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

PositiveInt = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]

# Not typing.Self, which the shape checks of the tests refuse.
Own = TypeVar("Own", bound="Settings")

FrameFormat = Literal["jpeg", "webp"]
CropRule = Literal["fomm_square", "fomm_stretch", "csv_squared", "body", "none"]
"""See `CropSettings.rule`."""
Outside = Literal["drop", "pad"]
"""See `CropSettings.outside`."""


class Settings(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def with_paths_under(self: Own, root: Path) -> Own:
        """Return a copy whose relative paths, also those in nested settings, are resolved against `root`."""
        changed: dict[str, Any] = {}
        for name, value in self:
            if isinstance(value, Path):
                changed[name] = root / value
            elif isinstance(value, Settings):
                changed[name] = value.with_paths_under(root)
        return self.model_copy(update=changed)


class DownloadSettings(Settings):
    """How sources are downloaded."""

    sources: Path
    """CSV file that lists the sources, relative to the project."""
    bad_rows: Literal["stop", "skip"]
    """`stop` the stage before it starts if rows are invalid, or `skip` them; either way they are reported."""
    format: str
    """yt-dlp format expression; use `<=?`, since a plain `<=` fails on direct links."""
    format_sort: tuple[str, ...]
    """yt-dlp's order of preference among the matching formats."""
    timeout_s: Positive
    """Wall clock of one attempt's transfer; its process group is killed after that."""
    min_decode_fps: Positive
    """Slowest decoding that verification waits for, in pictures a second. Verification is not part of the
    transfer's limit: it may take `timeout_s`, and for each picture of the video 1/`min_decode_fps` s more."""
    max_bytes: PositiveInt
    """Size of the largest file accepted."""
    max_memory_bytes: PositiveInt
    """Resident memory of one attempt, verification included; its process group is killed above that."""
    num_retries: Annotated[int, Field(ge=0)]
    """Attempts after the first one, for failures that may pass."""
    retry_delay_s: NonNegative
    """Delay before the first retry; doubled for each further one."""
    num_fragment_retries: Annotated[int, Field(ge=0)]
    """Requests after the first one for a fragment of a stream (HLS, DASH) that does not arrive, within one
    attempt. They are 1, 2, 4 … seconds apart, at most `retry_delay_s`. No fragment is ever left out."""
    retry_permanent_days: Annotated[int, Field(ge=0)]
    """Days after which a source that failed for good is requested again; 0 requests it in every run. Another
    format, cookie file, proxy or size limit requests it at once."""
    num_parallel: PositiveInt
    """Sources downloaded at the same time, on this machine or, with a store, on the Ray cluster."""
    max_per_hour: dict[str, PositiveInt]
    """Quota of requests per hour by host, subdomains included; requests of earlier runs count, and on a Ray
    cluster with a store those of all runs there. Each attempt to download a video is one request, retries
    too, whatever yt-dlp requests for it."""
    request_pause_s: NonNegative
    """Minimum time between the starts of two requests to one host."""
    max_bytes_per_s: PositiveInt | None
    """Bandwidth limit of one download; None sets no limit."""
    host_pause_s: NonNegative
    """First back-off of a rate-limited host without a Retry-After header; doubled for each further one."""
    max_host_pauses: Annotated[int, Field(ge=0)]
    """After this many back-offs without a successful request a host is given up on for the run."""
    cookies: Path | None
    """Cookie file in Netscape's format, relative to the project; None sends no cookies."""
    proxy: SecretStr | None
    """URL of a proxy for all downloads; None connects directly. One with a password belongs in the variable
    LIA_DOWNLOAD_PROXY, since params.yaml and dvc.lock are shared. With one, we refuse private hosts in the
    list and connect to the proxy only, but the proxy must refuse private hosts that redirects lead to."""
    js_runtime: Annotated[str, Field(pattern=r"^(deno|node|bun|quickjs)(:.+)?$")] | None
    """Program that runs YouTube's scripts: `deno`, `node`, `bun` or `quickjs`, optionally with its path, as
    in `node:/opt/node`; None runs no scripts."""
    allow_private_hosts: tuple[str, ...]
    """Host names or addresses that may be private or loopback; all other private hosts are refused."""
    local_root: Path | None
    """Folder whose videos may be listed by file:// URLs, absolute or relative to the project; None allows
    none."""
    accept_incomplete: bool
    """Whether the stages download and shards succeed if some sources failed for a reason that a rerun may not
    meet again."""


class DetectSettings(Settings):
    """How faces are detected."""

    models: Path
    """Folder of insightface-compatible ONNX files with a face detector, relative to the project."""
    every_num_frames: PositiveInt
    """Analyse each k-th frame; boxes between are interpolated."""
    recheck_iou: Fraction01
    """Analyse a frame between two analysed ones where a face's boxes overlap by less than this (IoU)."""
    min_score: Fraction01
    """Minimum confidence of a face."""
    pad_px: Annotated[int, Field(ge=0)]
    """Border of a frame of 640 px, in proportion for others; the detector misses faces that fill a frame."""
    providers: Annotated[tuple[str, ...], Field(min_length=1)]
    """onnxruntime's execution providers for the detector, and for a recognition network beside it, the
    preferred one first. `CUDAExecutionProvider` needs onnxruntime-gpu, and is untested."""


class IdentitySettings(Settings):
    """How people are identified by their faces."""

    models: Path | None
    """Folder of dlib's networks, relative to the project; a recognition model beside the detector takes
    precedence. None turns identification off: identities are those of the list."""
    max_distance: Positive | None
    """Maximum distance of two embeddings of one person; None takes the network's default."""
    across_sources: bool
    """Whether faces are compared across sources, so that no person is in two splits: a video follows the
    earliest one with a person of it, and a person's later clips in the other split are `other_split`."""


class TrackSettings(Settings):
    """How faces become tracks, and tracks become tubes."""

    min_iou: Fraction01
    """Minimum overlap (IoU) of a face with a track's last face to join the track."""
    max_gap_num_frames: PositiveInt
    """Longest gap without a face within a track."""
    close_iou: Fraction01
    """A tube ends when its box overlaps its first box by less than this (IoU)."""
    max_num_frames: PositiveInt
    """Length at which a tube ends."""


class CropSettings(Settings):
    """Which square is cropped."""

    rule: CropRule
    """`fomm_square`: one square per clip, `scale` times the longer side of the union of its face's boxes. The
    others detect no faces: `fomm_stretch` stretches the list's bbox to a square, as the published preparation
    does; `csv_squared` and `body` widen it to a square; `none` takes the middle square of the frame."""
    size_px: Annotated[int, Field(ge=8)]
    """Side of the stored frames."""
    scale: Annotated[float, Field(ge=1)]
    """Side of the square over the longer side of the union of boxes, for `fomm_square`."""
    outside: Outside
    """Whether a clip whose square leaves the frame is dropped or padded."""
    min_size_px: PositiveInt
    """Minimum longer side of the union of boxes, before `scale`."""


class QualitySettings(Settings):
    """Which clips are good enough."""

    min_num_frames: PositiveInt
    """Minimum length of a clip."""
    min_mean_score: Fraction01
    """Minimum mean confidence of a clip's faces; `low_confidence` below."""
    min_sharpness: NonNegative | None
    """Minimum median variance of the Laplacian of the face; `blurry` below. None turns a rule off."""
    min_brightness: NonNegative | None
    """Minimum median luma of the face, 0 to 255; `dark` below."""
    max_yaw_deg: NonNegative | None
    """Maximum median angle of the head to the left or right; `extreme_pose` above."""
    max_pitch_deg: NonNegative | None
    """Maximum size of the median angle of the head up or down; `extreme_pitch` above. Of the three angles,
    this is the least accurate, because heads differ."""
    max_roll_deg: NonNegative | None
    """Maximum median tilt of the head to a shoulder; `extreme_roll` above."""
    max_other_face: Fraction01 | None
    """Maximum share of the crop that another face covers; `multiple_faces` above."""
    min_motion: NonNegative | None
    """Minimum mean change of the face between analysed frames, 0 to 255; photographs are `static`."""
    min_duplicate_similarity: Annotated[float, Field(ge=0.5, le=1)] | None
    """Minimum similarity of the face's movements in clips of two videos, where they match best in time, to
    count as one recording: re-encoded, graded, resized, cropped anew or trimmed. All but one of these clips
    are filtered as `duplicate`; preprocessing/clips/duplicates.py gives measured figures."""


class ShardsSettings(Settings):
    """How raw videos become shards of face-cropped clips."""

    fps: PositiveInt
    """Maximum frame rate of a clip. Frames are selected by presentation time; a slower source keeps all of
    its frames."""
    max_gap_s: Positive
    """Maximum time between two frames of a clip; a longer gap, or a jump of the clock, ends the clip."""
    hdr: Literal["tone_map", "refuse"]
    """HDR video (PQ, HLG): `tone_map` to the range of other video, or `refuse`, which filters the source with
    the reason `hdr`."""
    shard_bytes: PositiveInt
    """Mean size of a shard; the clips of one source share a shard even if they are larger."""
    codec: FrameFormat
    """Format of the stored frames, `jpeg` or `webp`; WebP takes about half the space and 14 times as long to
    encode."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    """Quality of the stored frames with codec `jpeg` (4:4:4)."""
    webp_quality: Annotated[int, Field(ge=1, le=100)]
    """Quality of the stored frames with codec `webp`."""
    sound: bool
    """Whether each clip holds its sound too, 16 kHz mono FLAC in step with its frames; a clip of a source
    without sound holds none."""
    test_fraction: Fraction01
    """Share of identities with split `auto` that go to test."""
    seed: int
    """Seed of the choice of these identities."""
    num_parallel: PositiveInt
    """Sources processed at the same time, on this machine or on the Ray cluster of LIA_RAY_ADDRESS."""
    timeout_s: Positive
    """Wall clock of one source; its process is killed after that."""
    detect: DetectSettings
    """How faces are found."""
    identity: IdentitySettings
    """How people are identified."""
    track: TrackSettings
    """How faces become tubes."""
    crop: CropSettings
    """Which square is cut out."""
    quality: QualitySettings
    """Which clips are kept."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
