"""Cut clips: the squares of kept candidates, as picture files in a source's folder of clips.

A clip is two files: `<key>.jpgs`, or `<key>.webps`, holds its frames, concatenated, and `<key>.json` their
format, their lengths and the clip's fingerprint. A clip with the wanted fingerprint is not cut again.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from preprocessing.clips.candidates import Candidate
from preprocessing.clips.sample import read_frames
from preprocessing.media.frame_codec import ENDINGS, FrameCodec
from preprocessing.media.images import cut
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.settings import FrameFormat
from preprocessing.storage.files import file_sha256, write_atomically


class CutRecord(BaseModel):
    """What a clip's file of frames holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fingerprint: str
    """Hash of everything the frames depend on."""
    frame_bytes: list[int]
    """Length of each picture file."""
    sha256: str = ""
    """Hash of the file of frames; empty in what an earlier version cut."""
    codec: FrameFormat = "jpeg"
    """Format of the frames; what an earlier version cut has JPEG alone."""


def cut_clips(
    kept: Sequence[Candidate],
    fingerprints: Mapping[str, str],
    frames: Callable[[], Iterable[NumberedFrame]],
    folder: Path,
    size_px: int,
    codec: FrameCodec,
) -> dict[str, CutRecord]:
    """Cut the candidates that are not stored yet, in one pass over the video.

    Args:
        kept: candidates with a crop.
        fingerprints: wanted fingerprint of each clip, by key.
        frames: opens the video's numbered frames; called only if a clip is missing.
        folder: the source's folder of clips.
        size_px: side of the squares.
        codec: of the frames.

    Returns:
        What each clip's file of frames holds, by key.
    """
    stored = {one.key: _stored_record(folder, one.key, fingerprints[one.key]) for one in kept}
    missing = [one for one in kept if stored[one.key] is None]
    cut_now = _cut(missing, fingerprints, frames(), folder, size_px, codec) if missing else {}
    for key, record in cut_now.items():
        with write_atomically(record_file(folder, key)) as temporary:
            temporary.write_text(record.model_dump_json())
    return {key: cut_now[key] if record is None else record for key, record in stored.items()}


def read_stored_frames(folder: Path, key: str) -> list[bytes] | None:
    """Return the picture files of a stored clip with any fingerprint; None if it is missing or incomplete."""
    record = _whole_record(folder, key)
    return None if record is None else read_frames(frames_file(folder, key, record.codec), record.frame_bytes)


def frames_file(folder: Path, key: str, codec: FrameFormat) -> Path:
    """Return the file of a clip's concatenated picture files."""
    return folder / f"{key}.{ENDINGS[codec]}s"


def record_file(folder: Path, key: str) -> Path:
    """Return the file that says what a clip's file of frames holds."""
    return folder / f"{key}.json"


def _stored_record(folder: Path, key: str, fingerprint: str) -> CutRecord | None:
    """Return a stored clip's record, with its hash; None if it is missing, incomplete or outdated."""
    record = _whole_record(folder, key)
    if record is None or record.fingerprint != fingerprint:
        return None
    sha256 = record.sha256 or file_sha256(frames_file(folder, key, record.codec))
    return record.model_copy(update={"sha256": sha256})


def _whole_record(folder: Path, key: str) -> CutRecord | None:
    """Return a stored clip's record; None if a file is missing or the frames are not as long as it says."""
    path = record_file(folder, key)
    if not path.is_file():
        return None
    record = CutRecord.model_validate_json(path.read_text())
    frames = frames_file(folder, key, record.codec)
    is_whole = frames.is_file() and frames.stat().st_size == sum(record.frame_bytes)
    return record if is_whole else None


def _cut(
    candidates: Sequence[Candidate],
    fingerprints: Mapping[str, str],
    frames: Iterable[NumberedFrame],
    folder: Path,
    size_px: int,
    codec: FrameCodec,
) -> dict[str, CutRecord]:
    """Write each candidate's squares to its file; only one frame is in memory at a time."""
    sizes: dict[str, list[int]] = {candidate.key: [] for candidate in candidates}
    hashes = {candidate.key: hashlib.sha256() for candidate in candidates}
    end = max(candidate.tube.end_frame for candidate in candidates)
    with ExitStack() as stack:
        targets = {key: frames_file(folder, key, codec.format) for key in sizes}
        temporaries = {key: stack.enter_context(write_atomically(path)) for key, path in targets.items()}
        files = {key: stack.enter_context(path.open("wb")) for key, path in temporaries.items()}
        for frame in frames:
            if frame.number >= end:
                break
            for candidate in candidates:
                if candidate.tube.first_frame <= frame.number < candidate.tube.end_frame:
                    assert candidate.crop is not None
                    data = codec.encode(cut(frame.image, candidate.crop, size_px))
                    files[candidate.key].write(data)
                    sizes[candidate.key].append(len(data))
                    hashes[candidate.key].update(data)
    return {
        key: CutRecord(
            fingerprint=fingerprints[key],
            frame_bytes=frame_bytes,
            sha256=hashes[key].hexdigest(),
            codec=codec.format,
        )
        for key, frame_bytes in sizes.items()
    }
