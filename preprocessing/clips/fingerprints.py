"""Fingerprints: hashes of everything a stored result depends on, so that finished work is reused safely.

A source has three: of its sightings, of each cut clip, and of its whole result. Other thresholds change only
the last one, so they need no decoding; another crop leaves the sightings valid.
"""

import hashlib
from collections.abc import Sequence

from pydantic import TypeAdapter

from preprocessing.clips.candidates import Candidate
from preprocessing.clips.crop import finds_faces
from preprocessing.media.frame_codec import frame_codec
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source

RECIPE_VERSION = 6
"""Raise it when the code makes other clips from the same settings, so that stored work is not reused."""
RESULT_VERSION = 4
"""Raise it when the code describes clips in another way; their frames and sightings are then reused."""
_SOURCE = TypeAdapter(Source)


def sightings_fingerprint(
    source: Source, video_sha256: str, settings: ShardsSettings, networks: Sequence[str]
) -> str:
    """Return the hash of what a source's sightings depend on.

    Args:
        source: its listed box counts for crop rules that detect no faces.
        video_sha256: hash of the video file.
        settings: frame rate and detection.
        networks: hashes of the face networks; empty for crop rules that detect no faces.
    """
    rules = settings.detect.model_dump_json(exclude={"models", "providers"})
    if not finds_faces(settings.crop):
        every = settings.detect.every_num_frames
        rules = f"{settings.crop.rule} {every} {source.bbox} {source.bbox_size}"
    return _hash(RECIPE_VERSION, video_sha256, settings.fps, settings.max_gap_s, rules, list(networks))


def clip_fingerprint(candidate: Candidate, video_sha256: str, settings: ShardsSettings) -> str:
    """Return the hash of what the frames of a cut clip depend on."""
    span = (candidate.tube.first_frame, candidate.tube.num_frames)
    how = (settings.fps, settings.max_gap_s, settings.crop.size_px, *_codec_parts(settings))
    return _hash(RECIPE_VERSION, video_sha256, span, candidate.crop, how)


def result_fingerprint(
    source: Source, video_sha256: str, settings: ShardsSettings, networks: Sequence[str]
) -> str:
    """Return the hash of what a source's result depends on; arguments as for `sightings_fingerprint`."""
    # What is decided once all sources are known, and how work is spread, changes no source's own result.
    rules = settings.model_dump_json(
        exclude={
            "num_parallel": True,
            "jpeg_quality" if settings.codec == "webp" else "webp_quality": True,
            "timeout_s": True,
            "shard_bytes": True,
            "test_fraction": True,
            "seed": True,
            "detect": {"models", "providers"},
            "identity": {"models", "across_sources"},
            "quality": {"min_duplicate_similarity"},
        }
    )
    row = _SOURCE.dump_json(source, exclude={"source_id", "note", "list", "extra"}).decode()
    return _hash(RECIPE_VERSION, RESULT_VERSION, f'{{"source":{row}}}', video_sha256, rules, list(networks))


def _codec_parts(settings: ShardsSettings) -> tuple[object, ...]:
    codec = frame_codec(settings)
    # The format is left out of JPEG clips, so that those of earlier versions stay valid.
    return (codec.quality,) if codec.format == "jpeg" else tuple(codec)


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
