"""Sightings: every face in every analysed frame of a source, and the file that stores them.

One file per source in data/tracks, so that tracking, crops and thresholds can change without decoding or
detecting again. N faces, M of them embedded, E numbers per embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.appearance import LUMA_SIZE, Appearance
from preprocessing.faces.miniatures import Miniatures
from preprocessing.media.boxes import Box
from preprocessing.storage.files import write_atomically

Embedding = NDArray[np.float32]


class Sighting(NamedTuple):
    """One detected face, or one given box, in one frame; in pixels of the frame."""

    box: Box
    points: NDArray[np.float64]
    """Eyes, tip of the nose and corners of the mouth as x, y: [5, 2]; NaN for a given box."""
    score: float
    """Confidence of the detector, 0 to 1; 1 for a given box."""
    appearance: Appearance
    embedding: Embedding | None
    """Identity embedding, [E]; None where the face was not embedded."""
    thumbnail: bytes | None = None
    """Small JPEG of the face for people to look at; only some sightings of each face have one."""


@dataclass(frozen=True)
class Sightings:
    """The faces in all analysed frames of a source, or of the part of it that is listed."""

    first_frame: int
    """Number of the part's first frame."""
    times_s: list[float]
    """Presentation time of each frame of the part, from the video's beginning."""
    frame_size: tuple[int, int]
    """Width and height in pixels."""
    frames: list[int]
    """Numbers of the analysed frames, ascending."""
    faces: list[list[Sighting]]
    """The faces in each of `frames`."""
    cuts: list[int]
    """First frames of new scenes."""
    still: bytes
    """Small JPEG of a whole frame from the second half of the part, for people to look at."""
    miniatures: Miniatures
    """The whole part at a very small size."""

    @property
    def num_frames(self) -> int:
        """Return the length of the part in frames."""
        return len(self.times_s)

    @property
    def end_frame(self) -> int:
        """Return the number of the first frame after the part."""
        return self.first_frame + len(self.times_s)

    def frame_times(self, first: int, end: int) -> list[float]:
        """Return the presentation times of the frames `first` to before `end`, in seconds."""
        return self.times_s[first - self.first_frame : end - self.first_frame]


def faces_inside(sightings: Sightings, box: Box) -> Sightings:
    """Drop the faces whose centre lies outside `box`."""
    faces = [[face for face in found if box.contains(*face.box.centre)] for found in sightings.faces]
    return replace(sightings, faces=faces)


def write_sightings(path: Path, fingerprint: str, sightings: Sightings) -> None:
    """Write the file atomically; equal sightings give equal bytes.

    Args:
        path: the .npz file.
        fingerprint: hash of everything the sightings depend on.
        sightings: what to store.
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
    thumbnails = {n: face.thumbnail for n, (_, face) in enumerate(pairs) if face.thumbnail is not None}
    width, height = LUMA_SIZE
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            fingerprint=np.array(fingerprint),
            span=np.array([sightings.first_frame, *sightings.frame_size]),
            times=np.array(sightings.times_s, dtype=np.float64),
            frames=np.array(sightings.frames, dtype=np.int64),
            cuts=np.array(sightings.cuts, dtype=np.int64),
            faces=np.array(rows, dtype=np.float64).reshape(-1, 18),
            # In the file, "thumbnails" are the luma grids and "pictures" the JPEG files.
            thumbnails=np.array([face.appearance.luma for _, face in pairs], np.uint8).reshape(
                -1, height, width
            ),
            embedded=np.array(embedded, dtype=np.int64),
            embeddings=np.array([pairs[number][1].embedding for number in embedded], dtype=np.float32),
            pictured=np.array(list(thumbnails), dtype=np.int64),
            picture_bytes=np.array([len(data) for data in thumbnails.values()], dtype=np.int64),
            pictures=np.frombuffer(b"".join(thumbnails.values()), np.uint8),
            still=np.frombuffer(sightings.still, np.uint8),
            miniature_frames=np.array(sightings.miniatures.first_frames, dtype=np.int64),
            miniature_size=np.array(sightings.miniatures.size),
            miniatures=np.frombuffer(sightings.miniatures.data, np.uint8),
        )


def read_sightings(path: Path, fingerprint: str) -> Sightings | None:
    """Return the stored sightings; None if the file is missing or has another fingerprint."""
    if not path.is_file():
        return None
    with np.load(path) as stored:
        if str(stored["fingerprint"]) != fingerprint:
            return None
        faces: dict[int, list[Sighting]] = {int(frame): [] for frame in stored["frames"]}
        embeddings = dict(zip(stored["embedded"].tolist(), stored["embeddings"], strict=True))
        files = _divided(stored["pictures"], stored["picture_bytes"])
        thumbnails = dict(zip(stored["pictured"].tolist(), files, strict=True))
        grids = stored["thumbnails"]
        for number, row in enumerate(stored["faces"]):
            sighting = Sighting(
                box=Box(*row[1:5].tolist()),
                points=row[5:15].reshape(5, 2),
                score=float(row[15]),
                appearance=Appearance(float(row[16]), float(row[17]), grids[number]),
                embedding=embeddings.get(number),
                thumbnail=thumbnails.get(number),
            )
            faces[int(row[0])].append(sighting)
        first, width, height = (int(value) for value in stored["span"])
        times_s = stored["times"].tolist()
        cuts = [int(cut) for cut in stored["cuts"]]
        still = stored["still"].tobytes()
        mini_width, mini_height = stored["miniature_size"].tolist()
        miniatures = Miniatures(
            stored["miniature_frames"].tolist(), (mini_width, mini_height), stored["miniatures"].tobytes()
        )
    return Sightings(
        first, times_s, (width, height), list(faces), list(faces.values()), cuts, still, miniatures
    )


def _divided(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Iterator[bytes]:
    ends = np.cumsum(sizes)
    yield from (data[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True))
