"""What was seen in a source: every face in every analysed frame, with its points, looks and embedding.

Stored as one file a source in data/tracks, so that tracking, crops and thresholds can change without decoding
or detecting again. N faces, M of them embedded, E numbers an embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.appearance import THUMBNAIL_SIZE, Appearance
from preprocessing.media.boxes import Box

Embedding = NDArray[np.float32]


class Sighting(NamedTuple):
    """One face, or one given box, in one frame; pixels of the frame."""

    box: Box
    points: NDArray[np.float64]
    """Eyes, nose and corners of the mouth as x, y: [5, 2]; not numbers where no detector looked."""
    score: float
    """Confidence of the detector; 1 for a given box."""
    appearance: Appearance
    embedding: Embedding | None
    """Whose face it is, [E]; None where it was not asked."""
    picture: bytes | None = None
    """A small JPEG of it for people, of some sightings of every face."""


@dataclass(frozen=True)
class Sightings:
    """The faces of a source's analysed frames."""

    first_frame: int
    """Number of the part's first frame."""
    num_frames: int
    """Length of the part."""
    frame_size: tuple[int, int]
    """Width and height in pixels."""
    frames: list[int]
    """The analysed frames, in order."""
    faces: list[list[Sighting]]
    """What was found in each."""
    cuts: list[int]
    """First frames of new scenes."""
    still: bytes
    """A small JPEG of a whole frame of the part's second half, for people."""


def write_sightings(path: Path, fingerprint: str, sightings: Sightings) -> None:
    """Write the file, whole or not at all; equal sightings give equal bytes.

    Args:
        path: where to.
        fingerprint: hash of everything that the sightings depend on.
        sightings: what was seen.
    """
    pairs = [
        (frame, face)
        for frame, faces in zip(sightings.frames, sightings.faces, strict=True)
        for face in faces
    ]
    rows = [
        (
            frame,
            *face.box,
            *face.points.ravel(),
            face.score,
            face.appearance.sharpness,
            face.appearance.brightness,
        )
        for frame, face in pairs
    ]
    embedded = [number for number, (_, face) in enumerate(pairs) if face.embedding is not None]
    pictures = {number: face.picture for number, (_, face) in enumerate(pairs) if face.picture is not None}
    width, height = THUMBNAIL_SIZE
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            fingerprint=np.array(fingerprint),
            span=np.array([sightings.first_frame, sightings.num_frames, *sightings.frame_size]),
            frames=np.array(sightings.frames, dtype=np.int64),
            cuts=np.array(sightings.cuts, dtype=np.int64),
            faces=np.array(rows, dtype=np.float64).reshape(-1, 18),
            thumbnails=np.array([face.appearance.thumbnail for _, face in pairs], np.uint8).reshape(
                -1, height, width
            ),
            embedded=np.array(embedded, dtype=np.int64),
            embeddings=np.array([pairs[number][1].embedding for number in embedded], dtype=np.float32),
            pictured=np.array(list(pictures), dtype=np.int64),
            picture_bytes=np.array([len(picture) for picture in pictures.values()], dtype=np.int64),
            pictures=np.frombuffer(b"".join(pictures.values()), np.uint8),
            still=np.frombuffer(sightings.still, np.uint8),
        )
    partial.replace(path)


def read_sightings(path: Path, fingerprint: str) -> Sightings | None:
    """Return the stored sightings, or None where there are none of this fingerprint."""
    if not path.is_file():
        return None
    with np.load(path) as stored:
        if str(stored["fingerprint"]) != fingerprint:
            return None
        faces: dict[int, list[Sighting]] = {int(frame): [] for frame in stored["frames"]}
        embeddings = dict(zip(stored["embedded"].tolist(), stored["embeddings"], strict=True))
        pictures = dict(
            zip(
                stored["pictured"].tolist(),
                _divided(stored["pictures"], stored["picture_bytes"]),
                strict=True,
            )
        )
        thumbnails = stored["thumbnails"]
        for number, row in enumerate(stored["faces"]):
            sighting = Sighting(
                box=Box(*row[1:5].tolist()),
                points=row[5:15].reshape(5, 2),
                score=float(row[15]),
                appearance=Appearance(float(row[16]), float(row[17]), thumbnails[number]),
                embedding=embeddings.get(number),
                picture=pictures.get(number),
            )
            faces[int(row[0])].append(sighting)
        first, count, width, height = (int(value) for value in stored["span"])
        cuts = [int(cut) for cut in stored["cuts"]]
        still = stored["still"].tobytes()
    return Sightings(first, count, (width, height), list(faces), list(faces.values()), cuts, still)


def _divided(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Iterator[bytes]:
    ends = np.cumsum(sizes)
    yield from (data[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True))
