"""`lia calibrate`: how often the embedder matches two people, or misses one, on videos of known people."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.local.reports import Row
from preprocessing.faces.calibration import (
    CALIBRATION_NAME,
    Calibration,
    Labelled,
    calibrate,
)
from preprocessing.faces.networks import embedder_key, load_networks, require_networks
from preprocessing.media.parts.listed_part import part_frames
from preprocessing.settings import ShardsSettings
from preprocessing.sources.columns import read_header
from preprocessing.storage.files import write_atomically

COLUMNS = ("file", "identity", "recording")


class LabelledVideo(NamedTuple):
    """A row of the labels: a video in which one person has the largest face."""

    file: Path
    identity: str
    recording: str


def read_labels(path: Path) -> list[LabelledVideo]:
    """Read the labels: a CSV file with the columns file, identity and, if some videos share one, recording.

    Raises:
        ValueError: a column, a name or a video is missing.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = read_header(next(reader, []), COLUMNS, path)
        if not {"file", "identity"} <= set(names):
            raise ValueError(
                f"got {path} with columns {names}; file and identity are needed; name them in its first line"
            )
        rows = [dict(zip(names, fields, strict=False)) for fields in reader if fields]
    videos = []
    for number, row in enumerate(rows, 2):
        video = path.parent / row["file"]
        if not row.get("identity") or not video.is_file():
            raise ValueError(
                f"got {row} in line {number} of {path}; a video, relative to the list's folder, and who it "
                "shows are needed; correct the line"
            )
        videos.append(LabelledVideo(video, row["identity"], row.get("recording") or row["file"]))
    return videos


def calibrate_embedder(labels: Path, measured_on: str, root: Path, settings: ShardsSettings) -> Calibration:
    """Embed the largest face of each analysed frame of the labelled videos, and measure the rates.

    Args:
        labels: see `read_labels`.
        measured_on: the videos, in words.
        root: folder that paths in `settings` are relative to.
        settings: detector and embedder.

    Raises:
        ValueError: no embedder is set, a file is missing, or a video shows no face.
    """
    videos = read_labels(labels)
    require_networks(root, settings.detect, settings.identity)
    detector, recognizer = load_networks(root, settings.detect, settings.identity)
    if recognizer is None:
        raise ValueError(
            "got shards.identity.models null; an embedder is needed; set it to models/dlib, or to that and "
            "shards.detect.models to a folder with a recognition network"
        )
    people = []
    for video in videos:
        faces = []
        for frame in part_frames(video.file, settings.fps, settings.max_gap_s, None, None):
            if frame.number % settings.detect.every_num_frames:
                continue
            found = detector.detect(frame.image)
            if found:
                largest = max(found, key=lambda face: face.box.width * face.box.height)
                faces.append(recognizer(frame.image, largest))
        if not faces:
            raise ValueError(f"got {video.file} without a face; one is needed; leave its line out")
        people.append(Labelled(video.identity, video.recording, np.array(faces, np.float32)))
    name, networks = embedder_key(root, settings.detect, settings.identity)
    return calibrate(name, networks, measured_on, people)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write the result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as partial:
        partial.write_text(calibration.model_dump_json(indent=1) + "\n")


def default_output(root: Path, settings: ShardsSettings) -> Path:
    """Return where the stage looks for a user's calibration."""
    return root / settings.detect.models / CALIBRATION_NAME


def rate_rows(calibration: Calibration) -> list[Row]:
    """Return the rates at each threshold, for a terminal."""
    rows: list[Row] = [
        (
            "max distance",
            "false matches",
            "95 % upper bound",
            "missed across recordings",
            "missed within a video",
        )
    ]
    for each in calibration.thresholds:
        matches, missed, within = (
            each.false_matches,
            each.false_non_matches,
            each.false_non_matches_within,
        )
        rows.append(
            (
                f"{each.max_distance:.2f}",
                f"{matches.num_errors}/{matches.num_pairs}",
                f"{matches.upper:.2%}",
                f"{missed.num_errors}/{missed.num_pairs}",
                f"{within.num_errors}/{within.num_pairs}",
            )
        )
    return [*rows, (f"{calibration.max_distance:.2f}", "used", "", "", "")]
