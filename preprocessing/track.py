"""From faces in single frames to tracks of one face, and on to tubes that one crop fits. Pure functions.

N detections, T frames. Frame numbers count from the beginning of the source at the clips' rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.boxes import Box, Boxes, iou
from preprocessing.detect import Face
from preprocessing.settings import TrackSettings


@dataclass(frozen=True)
class Detections:
    """The faces of a source's analysed frames."""

    first_frame: int
    """Number of the part's first frame."""
    num_frames: int
    """Length of the part."""
    frame_size: tuple[int, int]
    """Width and height in pixels."""
    frames: list[int]
    """The analysed frames, in order."""
    faces: list[list[Face]]
    """What was found in each."""
    cuts: list[int]
    """First frames of new scenes."""


@dataclass(frozen=True)
class Track:
    """One face followed through the analysed frames."""

    frames: list[int]
    """Where it was seen."""
    faces: list[Face]
    """How."""


@dataclass(frozen=True)
class Tube:
    """A run of consecutive frames with one face, short and calm enough for a single crop."""

    first_frame: int
    """Number of its first frame."""
    boxes: Boxes
    """The face in each frame: [T, 4]."""
    mean_score: float
    """Mean confidence of its detections."""


def associate(detections: Detections, settings: TrackSettings) -> list[Track]:
    """Return the tracks in order of appearance: each face joins the track whose last face it overlaps most.

    A track ends at a scene cut, or after `max_gap_num_frames` without its face.
    """
    tracks: list[Track] = []
    current: list[Track] = []
    cuts = sorted(detections.cuts)
    previous = detections.first_frame
    for frame, faces in zip(detections.frames, detections.faces, strict=True):
        if any(previous < cut <= frame for cut in cuts):
            current = []
        previous = frame
        current = [track for track in current if frame - track.frames[-1] <= settings.max_gap_num_frames]
        matches = sorted(
            (
                (-iou(track.faces[-1].box, face.box), number, index)
                for number, track in enumerate(current)
                for index, face in enumerate(faces)
            ),
        )
        free_tracks, free_faces = set(range(len(current))), set(range(len(faces)))
        for negative_iou, number, index in matches:
            if -negative_iou >= settings.min_iou and number in free_tracks and index in free_faces:
                current[number].frames.append(frame)
                current[number].faces.append(faces[index])
                free_tracks.remove(number)
                free_faces.remove(index)
        started = [Track([frame], [faces[index]]) for index in sorted(free_faces)]
        tracks += started
        current = current + started
    return tracks


def interpolate(track: Track) -> Boxes:
    """Return the box of every frame from the track's first to its last, linear between detections: [T, 4]."""
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
    return [_tube(track, boxes, start, end) for start, end in zip(starts, ends, strict=True)]


def _tube(track: Track, boxes: Boxes, start: int, end: int) -> Tube:
    first = track.frames[0] + start
    last = track.frames[0] + end - 1
    inside = [
        face.score for frame, face in zip(track.frames, track.faces, strict=True) if first <= frame <= last
    ]
    scores: Sequence[float] = inside or [face.score for face in track.faces]
    return Tube(first, boxes[start:end], float(np.mean(scores)))
