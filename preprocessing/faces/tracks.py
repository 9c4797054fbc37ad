"""From faces in single frames to tracks of one person, and on to tubes that one crop fits. Pure functions.

T frames. Frame numbers count from the beginning of the source at the clips' rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from preprocessing.faces.appearance import change
from preprocessing.faces.sightings import Embedding, Sighting, Sightings
from preprocessing.media.boxes import Box, Boxes, iou
from preprocessing.settings import TrackSettings

JUMP = 45.0
"""Change of a face's thumbnail between two sightings after which it may be somebody else's face."""
CROWDED_IOU = 0.1
"""Faces that overlap by more than this may be mistaken for each other."""


@dataclass
class Track:
    """One face followed through the analysed frames."""

    frames: list[int] = field(default_factory=list)
    """Where it was seen."""
    faces: list[Sighting] = field(default_factory=list)
    """How."""

    @property
    def embeddings(self) -> list[Embedding]:
        """Return those of its sightings that have one."""
        return [face.embedding for face in self.faces if face.embedding is not None]


@dataclass(frozen=True)
class Tube:
    """A run of consecutive frames with one face, short and calm enough for a single crop."""

    first_frame: int
    """Number of its first frame."""
    boxes: Boxes
    """The face in each frame: [T, 4]."""
    faces: list[Sighting]
    """Its sightings; the track's nearest one where none lies inside."""


class Tracker:
    """Joins faces to tracks, frame by frame: each face joins the track whose last face it overlaps most.

    A track ends at a scene cut, or after `max_gap_num_frames` without its face. Somebody else's face never
    joins, as far as embeddings tell: `needs_embedding` names the faces that should have one.

    Args:
        min_iou: least overlap of a face with a track's last face to join it.
        max_gap_num_frames: longest time without a face that a track survives.
        max_distance: greatest distance of two embeddings of one person.
    """

    def __init__(self, min_iou: float, max_gap_num_frames: int, max_distance: float) -> None:
        """Start before the first frame."""
        self.tracks: list[Track] = []
        self._current: list[Track] = []
        self._min_iou = min_iou
        self._max_gap_num_frames = max_gap_num_frames
        self._max_distance = max_distance

    def cut(self) -> None:
        """End all tracks: a new scene begins."""
        self._current = []

    def needs_embedding(self, frame: int, faces: Sequence[Sighting]) -> list[bool]:
        """Tell for each face whether it should be embedded before `update`.

        Yes at a track's second, fourth, eighth sighting and so on, which is five times in the first half
        minute; and wherever somebody else may have come: where faces crowd or one jumps in its looks.
        """
        alive = self._alive(frame)
        return [
            self._is_due(face, alive)
            or any(other is not face and iou(other.box, face.box) > CROWDED_IOU for other in faces)
            for face in faces
        ]

    def update(self, frame: int, faces: Sequence[Sighting]) -> list[int]:
        """Add the faces of the next analysed frame; return how often each has been seen by now."""
        alive = self._alive(frame)
        matches = sorted(
            (-self._affinity(track, face), -track.frames[-1], number, index)
            for number, track in enumerate(alive)
            for index, face in enumerate(faces)
        )
        free_tracks, free_faces = set(range(len(alive))), set(range(len(faces)))
        counts = [1] * len(faces)
        for negative, _, number, index in matches:
            if -negative >= self._min_iou and number in free_tracks and index in free_faces:
                alive[number].frames.append(frame)
                alive[number].faces.append(faces[index])
                counts[index] = len(alive[number].faces)
                free_tracks.remove(number)
                free_faces.remove(index)
        started = [Track([frame], [faces[index]]) for index in sorted(free_faces)]
        self.tracks += started
        self._current = alive + started
        return counts

    def _alive(self, frame: int) -> list[Track]:
        return [t for t in self._current if frame - t.frames[-1] <= self._max_gap_num_frames]

    def _is_due(self, face: Sighting, alive: Sequence[Track]) -> bool:
        near = [track for track in alive if iou(track.faces[-1].box, face.box) >= self._min_iou]
        if len(near) != 1:
            return len(near) > 1
        count = len(near[0].faces) + 1
        return count & (count - 1) == 0 or _jumps(near[0], face)

    def _affinity(self, track: Track, face: Sighting) -> float:
        overlap = iou(track.faces[-1].box, face.box)
        if overlap < self._min_iou:
            return 0.0
        known = track.embeddings
        if face.embedding is None:
            return overlap
        if not known:
            # Nothing says who it was, and it looks like another: a new track loses little.
            return 0.0 if _jumps(track, face) else overlap
        distance = min(float(np.linalg.norm(one - face.embedding)) for one in known)
        return overlap if distance <= self._max_distance else 0.0


def associate(sightings: Sightings, settings: TrackSettings, max_distance: float) -> list[Track]:
    """Return the tracks in order of appearance."""
    tracker = Tracker(settings.min_iou, settings.max_gap_num_frames, max_distance)
    cuts = sorted(sightings.cuts)
    previous = sightings.first_frame
    for frame, faces in zip(sightings.frames, sightings.faces, strict=True):
        if any(previous < cut <= frame for cut in cuts):
            tracker.cut()
        previous = frame
        tracker.update(frame, faces)
    return tracker.tracks


def interpolate(track: Track) -> Boxes:
    """Return the box of every frame from the track's first to its last, linear between sightings: [T, 4]."""
    wanted = np.arange(track.frames[0], track.frames[-1] + 1)
    seen = np.array([face.box for face in track.faces], dtype=np.float64)
    return np.stack([np.interp(wanted, track.frames, seen[:, side]) for side in range(4)], axis=1)


def divide(track: Track, settings: TrackSettings) -> list[Tube]:
    """Cut a track into tubes: one closes when its box has left its first box, or at the greatest length."""
    boxes = interpolate(track)
    starts = [0]
    for number in range(1, len(boxes)):
        overlap = iou(Box(*boxes[starts[-1]]), Box(*boxes[number]))
        if overlap < settings.close_iou or number - starts[-1] >= settings.max_num_frames:
            starts.append(number)
    ends = [*starts[1:], len(boxes)]
    return [
        part_of(track, track.frames[0] + start, boxes[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def part_of(track: Track, first_frame: int, boxes: Boxes) -> Tube:
    """Return the tube of a track that begins at `first_frame` and has these boxes."""
    end = first_frame + len(boxes)
    inside = [
        face for frame, face in zip(track.frames, track.faces, strict=True) if first_frame <= frame < end
    ]
    if not inside:
        nearest = min(range(len(track.frames)), key=lambda number: abs(track.frames[number] - first_frame))
        inside = [track.faces[nearest]]
    return Tube(first_frame, boxes, inside)


def _jumps(track: Track, face: Sighting) -> bool:
    last = track.faces[-1].appearance.thumbnail
    return change(last, face.appearance.thumbnail) > JUMP
