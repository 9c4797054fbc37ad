"""The CSV metadata of the first order motion model: VoxCeleb, Taichi, TED.

Siarohin et al. 2019 and 2021, data preparation.

Columns by name: video_id, start, end, bbox (left-top-right-bottom), fps, width, height, partition, and
sometimes person_id; Taichi numbers the parts of a video, `<id>#<number>`. Start and end are frames at `fps`;
0 and 0 is the whole video.
"""

import csv
import math
import re
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, read_rows, youtube_url

Fields = dict[str | None, str | None]
"""A line by column; surplus fields are under None, missing ones are None."""
REQUIRED = ("video_id", "start", "end", "bbox", "fps", "width", "height", "partition")

# Boxes reach over the frame's edge, so a side may have a minus sign beside the dash that separates two sides.
_BOX = re.compile("-".join([r"(-?\d+(?:\.\d+)?)"] * 4))


def read_fomm(path: Path) -> ImportedList:
    """Return the rows of a metadata CSV.

    Raises:
        ValueError: a column is missing, or no row is usable.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"got {path} without the columns {', '.join(missing)}; {', '.join(REQUIRED)} are needed; "
                "is it a fomm-csv file?"
            )
        lines = ((f"line {reader.line_num}", (reader.line_num, fields)) for fields in reader)
        return read_rows(path, lines, _read_row)


def _read_row(numbered: tuple[int, Fields]) -> ImportedRow:
    line, fields = numbered
    if None in fields or None in fields.values():
        raise ValueError("got another number of fields than the header; check its commas and quotes")
    url, split = youtube_url(str(fields["video_id"]), "video_id"), str(fields["partition"]).strip()
    if split not in ("train", "test"):
        raise ValueError(f"got partition {split!r}; train or test is needed")
    fps, width, height = (_number(fields, name) for name in ("fps", "width", "height"))
    if not (fps > 0 and width >= 1 and height >= 1):
        raise ValueError(f"got fps {fps:g} and a frame of {width:g}x{height:g} px; all must be above 0")
    start, end = _number(fields, "start"), _number(fields, "end")
    is_whole = start == end == 0
    if not is_whole and not 0 <= start < end:
        raise ValueError(f"got start {start:g} and end {end:g}; 0 <= start < end is needed, or 0 and 0")
    found = _BOX.fullmatch(str(fields["bbox"]).strip())
    if found is None:
        raise ValueError(f"got bbox {fields['bbox']!r}; left-top-right-bottom is needed")
    left, top, right, bottom = (float(side) for side in found.groups())
    return ImportedRow(
        place=line,
        url=url,
        start_s=None if is_whole else start / fps,
        end_s=None if is_whole else end / fps,
        box=Box(left, top, right, bottom),
        frame_size=(int(width), int(height)),
        identity=str(fields.get("person_id") or "").strip() or None,
        split=split,
    )


def _number(fields: dict[str | None, str | None], name: str) -> float:
    try:
        value = float(str(fields[name]))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"got {name} {fields[name]!r}; a number is needed")
    return value


IMPORTER = Importer(read_fomm)
