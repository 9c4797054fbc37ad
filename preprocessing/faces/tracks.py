"""Tracks: faces of single frames joined over time, and divided into tubes that fit a single crop. Pure.

T frames. Frame numbers count from the beginning of the source at the clips' frame rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from preprocessing.faces.appearance import luma_change
from preprocessing.faces.dissolves import find_dissolves
from preprocessing.faces.sightings import Embedding, Sighting, Sightings
from preprocessing.media.boxes import Box, Boxes, iou
from preprocessing.settings import TrackSettings

JUMP = 45.0
"""A luma change above this between two sightings suggests another person's face."""
EMBED_EVERY = 8
"""A track is embedded at least once in this many sightings."""
CROWDED_SHARE = 0.1
"""Faces of which another one covers more than this may be mistaken for it."""


@dataclass
class Track:
    """One face followed through the analysed frames."""

    frames: list[int] = field(default_factory=list)
    """Numbers of the analysed frames that show it, ascending."""
    faces: list[Sighting] = field(default_factory=list)
    """Its sighting in each of `frames`."""
    is_crowded: bool = False
    """Whether another face touches it in every frame; else none does in any."""

    @property
    def embeddings(self) -> list[Embedding]:
        """Return the embeddings of the sightings that have one."""
        return [face.embedding for face in self.faces if face.embedding is not None]


@dataclass(frozen=True)
class Tube:
    """Consecutive frames of one track during which the face moves little enough for a single crop."""

    first_frame: int
    """Number of the first frame."""
    boxes: Boxes
    """The face's box in each frame: [T, 4]."""
    faces: list[Sighting]
    """The sightings in these frames; the track's nearest sighting if there are none."""
    face_frames: list[int]
    """Number of the frame of each sighting."""
    before: tuple[tuple[int, Sighting], ...] = ()
    """The track's last sighting before the tube with its frame, if there is one: the tube's first boxes lie
    between it and the first of `faces`."""
    after: tuple[tuple[int, Sighting], ...] = ()
    """The track's first sighting after the tube with its frame, if there is one."""

    @property
    def num_frames(self) -> int:
        """Return the length in frames."""
        return len(self.boxes)

    @property
    def end_frame(self) -> int:
        """Return the number of the first frame after the tube."""
        return self.first_frame + len(self.boxes)


class Tracker:
    """Assigns faces to tracks frame by frame; each face joins the track whose last box it overlaps most.

    A track ends at a scene cut, after `max_gap_num_frames` without a face, and where another face begins or
    ceases to touch it, since people who cross may be mistaken for each other. A face whose embedding differs
    from the track's starts a new track; `needs_embedding` selects the faces worth embedding.

    Args:
        min_iou: least overlap of a face with a track's last box to join the track.
        max_gap_num_frames: longest gap between two sightings of one track.
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
        """End all tracks at a scene cut."""
        self._current = []

    def needs_embedding(self, frame: int, faces: Sequence[Sighting]) -> list[bool]:
        """Return for each face whether it should be embedded before `update`.

        True for a track's second, fourth and eighth sighting and every eighth from there on, so that the
        whole track is covered; and wherever the person may have changed: where faces overlap, or a face's
        appearance jumps.
        """
        alive = self._alive(frame)
        return [self._is_due(face, alive) or _is_crowded(face, faces) for face in faces]

    def update(self, frame: int, faces: Sequence[Sighting]) -> list[int]:
        """Add the faces of the next analysed frame; return the number of sightings of each face so far."""
        crowded = [_is_crowded(face, faces) for face in faces]
        self._end_where_crowding_changes(faces, crowded)
        alive = self._alive(frame)
        matches = sorted(
            (-self._affinity(track, face), -track.frames[-1], number, index)
            for number, track in enumerate(alive)
            for index, face in enumerate(faces)
            if track.is_crowded == crowded[index]
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
        started = [Track([frame], [faces[index]], crowded[index]) for index in sorted(free_faces)]
        self.tracks += started
        self._current = alive + started
        return counts

    def _alive(self, frame: int) -> list[Track]:
        return [t for t in self._current if frame - t.frames[-1] <= self._max_gap_num_frames]

    def _end_where_crowding_changes(self, faces: Sequence[Sighting], crowded: Sequence[bool]) -> None:
        def is_over(track: Track) -> bool:
            return any(
                track.is_crowded != is_crowded and iou(track.faces[-1].box, face.box) >= self._min_iou
                for face, is_crowded in zip(faces, crowded, strict=True)
            )

        self._current = [track for track in self._current if not is_over(track)]

    def _is_due(self, face: Sighting, alive: Sequence[Track]) -> bool:
        near = [track for track in alive if iou(track.faces[-1].box, face.box) >= self._min_iou]
        if len(near) != 1:
            return len(near) > 1
        count = len(near[0].faces) + 1
        return count in (2, 4) or count % EMBED_EVERY == 0 or _jumps(near[0], face)

    def _affinity(self, track: Track, face: Sighting) -> float:
        overlap = iou(track.faces[-1].box, face.box)
        if overlap < self._min_iou:
            return 0.0
        known = track.embeddings
        if face.embedding is None:
            return overlap
        if not known:
            # The track's identity is unknown and the appearance jumps: starting a new track costs little.
            return 0.0 if _jumps(track, face) else overlap
        distance = min(float(np.linalg.norm(one - face.embedding)) for one in known)
        return overlap if distance <= self._max_distance else 0.0


def find_tracks(sightings: Sightings, settings: TrackSettings, max_distance: float) -> list[Track]:
    """Return the tracks in order of their first frame, without the frames of dissolves.

    Args:
        sightings: the faces of a source.
        settings: limits of overlap and gap.
        max_distance: greatest distance of two embeddings of one person.
    """
    tracker = Tracker(settings.min_iou, settings.max_gap_num_frames, max_distance)
    dissolves = find_dissolves(sightings.miniatures, sightings.end_frame)
    cuts = sorted({*sightings.cuts, *(dissolve.stop for dissolve in dissolves)})
    previous = sightings.first_frame
    for frame, faces in zip(sightings.frames, sightings.faces, strict=True):
        if any(frame in dissolve for dissolve in dissolves):
            continue
        if any(previous < cut <= frame for cut in cuts):
            tracker.cut()
        previous = frame
        tracker.update(frame, faces)
    return tracker.tracks


def interpolate(track: Track) -> Boxes:
    """Return a box for every frame of the track, interpolated linearly between sightings: [T, 4]."""
    wanted = np.arange(track.frames[0], track.frames[-1] + 1)
    seen = np.array([face.box for face in track.faces], dtype=np.float64)
    return np.stack([np.interp(wanted, track.frames, seen[:, side]) for side in range(4)], axis=1)


def divide_into_tubes(track: Track, settings: TrackSettings) -> list[Tube]:
    """Divide a track into tubes that cover it without gaps.

    A tube ends when the face overlaps its own first box by less than `close_iou`, or at `max_num_frames`.
    """
    boxes = interpolate(track)
    starts = [0]
    for number in range(1, len(boxes)):
        overlap = iou(Box(*boxes[starts[-1]]), Box(*boxes[number]))
        if overlap < settings.close_iou or number - starts[-1] >= settings.max_num_frames:
            starts.append(number)
    ends = [*starts[1:], len(boxes)]
    return [
        _tube(track, track.frames[0] + start, boxes[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def divide_at(track: Track, tube: Tube, boundary: int) -> list[Tube]:
    """Divide a tube of the track at the frame `boundary`; a tube on one side of it stays whole."""
    length = boundary - tube.first_frame
    if not 0 < length < tube.num_frames:
        return [tube]
    return [
        _tube(track, tube.first_frame, tube.boxes[:length]),
        _tube(track, boundary, tube.boxes[length:]),
    ]


def _tube(track: Track, first_frame: int, boxes: Boxes) -> Tube:
    end = first_frame + len(boxes)
    inside = [number for number, frame in enumerate(track.frames) if first_frame <= frame < end]
    if not inside:
        inside = [min(range(len(track.frames)), key=lambda number: abs(track.frames[number] - first_frame))]
    seen = list(zip(track.frames, track.faces, strict=True))
    return Tube(
        first_frame,
        boxes,
        [track.faces[number] for number in inside],
        [track.frames[number] for number in inside],
        before=tuple(pair for pair in seen if pair[0] < first_frame)[-1:],
        after=tuple(pair for pair in seen if pair[0] >= end)[:1],
    )


def _is_crowded(face: Sighting, faces: Sequence[Sighting]) -> bool:
    return any(other is not face and _covered_share(face.box, other.box) > CROWDED_SHARE for other in faces)


def _covered_share(one: Box, other: Box) -> float:
    """Return the overlap of two boxes over the area of the smaller one."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min(one.width * one.height, other.width * other.height)
    return max(width, 0.0) * max(height, 0.0) / max(smaller, 1e-9)


def _jumps(track: Track, face: Sighting) -> bool:
    last = track.faces[-1].appearance.luma
    return luma_change(last, face.appearance.luma) > JUMP
