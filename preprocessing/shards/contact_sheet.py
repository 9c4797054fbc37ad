"""data/shards/report.html: counts of sources and clips, and example clips of each outcome."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from preprocessing.html_page import Column, Histogram, Table, TableRow, data_uri, render
from preprocessing.ledger import ClipRow, SourceRow, count_clips, count_failures, count_sources
from preprocessing.media.frame_codec import media_type
from preprocessing.outcome import DownloadStatus
from preprocessing.storage.files import write_atomically
from preprocessing.strips import evenly_spaced

Item = TypeVar("Item")
NUM_PICTURES = 8
"""Most frames of one example."""
NUM_ERRORS = 50
"""Most listed errors; the most frequent ones."""
NUM_EXAMPLES = 12
"""Most example clips of one outcome, and most listed sources of one status."""
MEASURES = {
    "low_confidence": ("mean_score", "mean confidence {:.2f}"),
    "dark": ("brightness", "brightness {:.0f} of 255"),
    "blurry": ("sharpness", "sharpness {:.0f}"),
    "extreme_pose": ("yaw_deg", "head turned {:.0f}° to the side"),
    "extreme_pitch": ("pitch_deg", "head turned {:.0f}° down"),
    "extreme_roll": ("roll_deg", "head tilted by {:.0f}°"),
    "multiple_faces": ("other_face", "another face covers {:.0%}"),
    "static": ("motion", "motion {:.2f} of 255"),
}
"""By reason of rejection: the ledger's column that was compared with the threshold, and how it is written."""


@dataclass(frozen=True)
class ExampleClip:
    """One candidate clip."""

    key: str
    url: str
    facts: Sequence[str]
    """Split, identity, error, length, position, and what its rejection was decided by."""
    pictures: Sequence[str]
    """Data URIs of frames in order of time."""


@dataclass(frozen=True)
class OutcomeExamples:
    """Example clips of one outcome."""

    label: str
    num_all: int
    clips: Sequence[ExampleClip]


@dataclass(frozen=True)
class ContactSheet:
    """What the page shows."""

    sources: Histogram
    clips: Histogram
    unavailable: Table
    """Examples of the sources that are not verified."""
    failures: Table
    """Failed sources, summed by error."""
    kept: Sequence[Histogram]
    """Sizes, lengths, poses and clips per identity of the kept clips."""
    outcomes: Sequence[OutcomeExamples]
    """Kept clips come first."""


def write_contact_sheet(
    path: Path,
    sources: Sequence[SourceRow],
    rows: Sequence[ClipRow],
    pictures: Mapping[str, Sequence[bytes]],
) -> None:
    """Write the page; its size does not grow with the number of clips, see `examples`.

    Args:
        path: the HTML file.
        sources: every source.
        rows: every candidate clip.
        pictures: picture files of the examples in order of time, by clip key.
    """
    page = render(Path(__file__).with_suffix(".html"), sheet=summarise_candidates(sources, rows, pictures))
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def examples(rows: Sequence[ClipRow]) -> dict[str, list[ClipRow]]:
    """Return up to `NUM_EXAMPLES` clips of each outcome, evenly spaced by key; kept clips come first."""
    by_label: dict[str, list[ClipRow]] = {}
    for row in sorted(rows, key=lambda row: (row.outcome != "kept", row.label, row.key)):
        by_label.setdefault(row.label, []).append(row)
    return {label: _thinned(found, NUM_EXAMPLES) for label, found in by_label.items()}


def summarise_candidates(
    sources: Sequence[SourceRow], rows: Sequence[ClipRow], pictures: Mapping[str, Sequence[bytes]]
) -> ContactSheet:
    """Gather what the page shows; see `write_contact_sheet` for the arguments."""
    counts = count_clips(rows)
    return ContactSheet(
        sources=Histogram("Sources", count_sources(sources)),
        clips=Histogram("Clips", counts),
        unavailable=_unavailable(sources),
        failures=_failures(rows),
        kept=_distributions([row for row in rows if row.outcome == "kept"]),
        outcomes=[
            OutcomeExamples(
                label, counts[label], [_example(row, pictures.get(row.key, ())) for row in chosen]
            )
            for label, chosen in examples(rows).items()
        ],
    )


def clip_facts(row: ClipRow) -> list[str]:
    """Return what is known of a candidate, each fact a few words."""
    facts = [row.split or "", row.identity or "", row.error or ""]
    if row.num_frames is not None:
        facts.append(f"{row.num_frames} frames from {row.start_s:.2f} s, face {row.face_px:.0f} px")
    field, words = MEASURES.get(row.reason or "", ("", ""))
    if (value := getattr(row, field, None)) is not None:
        facts.append(words.format(value))
    if row.duplicate_of is not None:
        facts.append(f"duplicate of {row.duplicate_of}")
    return [fact for fact in facts if fact]


def binned(values: Sequence[float], step: int) -> dict[str, int]:
    """Count values in bins of width `step`, from the smallest value to the largest, empty bins included."""
    bins = Counter(math.floor(value / step) for value in values)
    if not bins:
        return {}
    return {
        f"{number * step}" if step == 1 else f"{number * step} to {(number + 1) * step}": bins[number]
        for number in range(min(bins), max(bins) + 1)
    }


def _example(row: ClipRow, pictures: Sequence[bytes]) -> ExampleClip:
    shown = [data_uri(picture, media_type(picture)) for picture in _thinned(pictures, NUM_PICTURES)]
    return ExampleClip(row.key, row.url, clip_facts(row), shown)


def _unavailable(sources: Sequence[SourceRow]) -> Table:
    by_status: dict[str, list[SourceRow]] = {}
    for row in sources:
        if row.download.status != DownloadStatus.VERIFIED:
            by_status.setdefault(row.download.status.value, []).append(row)
    chosen = [row for _, found in sorted(by_status.items()) for row in _thinned(found, NUM_EXAMPLES)]
    return Table(
        "Sources that are not verified",
        [Column("source", "long"), Column("status", "text"), Column("error", "long")],
        [TableRow((row.source.url, row.download.status.value, row.download.error or "")) for row in chosen],
    )


def _failures(rows: Sequence[ClipRow]) -> Table:
    columns = (Column("error", "long"), Column("number"), Column("rerun", "text"), Column("such as", "long"))
    found = count_failures(rows)[:NUM_ERRORS]
    lines = [TableRow((one.error, str(one.num_rows), one.prospect, one.url)) for one in found]
    return Table("Failures by error", columns, lines)


def _distributions(kept: Sequence[ClipRow]) -> list[Histogram]:
    clips_per_identity = Counter(row.identity or "unnamed" for row in kept)
    columns = (
        ("Face size, px", [row.face_px for row in kept], 64),
        ("Length, frames", [row.num_frames for row in kept], 128),
        ("Yaw without its sign, degrees", [row.yaw_deg for row in kept], 10),
        ("Pitch, degrees", [row.pitch_deg for row in kept], 10),
        ("Identities by their number of clips", list(clips_per_identity.values()), 1),
    )
    return [
        Histogram(title, binned([value for value in values if value is not None], step))
        for title, values, step in columns
    ]


def _thinned(items: Sequence[Item], most: int) -> list[Item]:
    return [items[place] for place in evenly_spaced(len(items), most)]
