"""Metrics of the stage shards that DVC shows: numbers of clips and frames, and a plot of the outcomes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from preprocessing.clips.sample import KeptClip
from preprocessing.ledger import ClipRow, count_clips
from preprocessing.storage.files import write_atomically


def write_counts(metrics: Path, rows: Sequence[ClipRow], clips: Sequence[KeptClip]) -> None:
    """Write the numbers of clips and frames to shards.json, and the outcomes as a plot to outcomes.csv."""
    frames = {
        split: sum(clip.num_frames for clip in clips if clip.split == split) for split in ("train", "test")
    }
    outcomes = count_clips(rows)
    metrics.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"clips": outcomes, "frames": frames}, indent=1)
    # Never into a file that is there: DVC may have linked it to its cache.
    with write_atomically(metrics / "shards.json") as partial:
        partial.write_text(text + "\n")
    with write_atomically(metrics / "outcomes.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("outcome", "num_clips"))
        writer.writerows(outcomes.items())
