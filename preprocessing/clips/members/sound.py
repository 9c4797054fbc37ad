"""The sound of a clip, the member `flac` of its sample: 16 kHz mono, in step with its frames.

It is two files in the source's folder of clips: `<key>.flac`, and `<key>.sound.json` with a fingerprint and
the facts; the latter alone if there is no sound. Sound with the wanted fingerprint is not read again.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from preprocessing.clips.sample import ClipSound
from preprocessing.media.sound.excerpt import RATE_HZ, SoundReader, encode_flac
from preprocessing.storage.files import write_atomically

SOUND = "flac"
"""Ending of the member's name."""
VERSION = 1
"""Raise it when the code makes other sound of the same video, so that stored sound is not reused."""


class SoundRecord(BaseModel):
    """What is known of a clip's sound."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fingerprint: str
    """Hash of everything the sound depends on."""
    sound: ClipSound | None
    """None if the source has none there."""


def cut_sound(
    spans: Mapping[str, tuple[float, float]],
    video_sha256: str,
    open_sound: Callable[[], SoundReader],
    folder: Path,
) -> dict[str, ClipSound | None]:
    """Store the sound of each clip that is not stored yet, and return what is known of all.

    Args:
        spans: first frame's time and last frame's end by clip, in seconds of the video.
        video_sha256: hash of the video file.
        open_sound: opens the video's sound; called only if a clip's is missing.
        folder: the source's folder of clips.
    """
    marks = {key: _fingerprint(video_sha256, span) for key, span in spans.items()}
    known = {key: _stored(folder, key, mark) for key, mark in marks.items()}
    missing = [key for key, record in known.items() if record is None]
    reader = open_sound() if missing else None
    found = {key: record.sound for key, record in known.items() if record is not None}
    for key in missing:
        assert reader is not None
        excerpt = reader.read(*spans[key])
        found[key] = None
        if excerpt is not None:
            with write_atomically(folder / f"{key}.{SOUND}") as temporary:
                temporary.write_bytes(encode_flac(excerpt.samples))
            found[key] = ClipSound(
                rate_hz=RATE_HZ, num_samples=len(excerpt.samples), num_filled=excerpt.num_filled
            )
        record = SoundRecord(fingerprint=marks[key], sound=found[key])
        with write_atomically(folder / sound_record(key)) as temporary:
            temporary.write_text(record.model_dump_json())
    return {key: found[key] for key in spans}


def sound_record(key: str) -> str:
    """Return the name of the file that says what is known of a clip's sound; it is no member."""
    return f"{key}.sound.json"


def _fingerprint(video_sha256: str, span: tuple[float, float]) -> str:
    return hashlib.sha256(f"{VERSION} {video_sha256} {span}".encode()).hexdigest()


def _stored(folder: Path, key: str, fingerprint: str) -> SoundRecord | None:
    path = folder / sound_record(key)
    if not path.is_file():
        return None
    record = SoundRecord.model_validate_json(path.read_text())
    is_there = record.sound is None or (folder / f"{key}.{SOUND}").is_file()
    return record if record.fingerprint == fingerprint and is_there else None
