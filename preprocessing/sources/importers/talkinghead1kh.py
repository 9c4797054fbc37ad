"""The tube lists of TalkingHead-1KH: `<video>_<chunk>,height,width,first,last,left,top,right,bottom`.

Wang et al. 2021. Videos were cut into chunks of one minute. Frames count from the start of the chunk at the
video's own rate, which the list lacks; 25 fps is assumed, so parts of faster videos begin and end late.
"""

import re
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, read_rows, youtube_url
from preprocessing.sources.source import Split

FPS = 25
CHUNK_S = 60

_NAME = re.compile(r"(?P<video>.+)_(?P<chunk>\d{4})")


def read_talkinghead(path: Path) -> ImportedList:
    """Return the rows of a list of tubes; the split is `test` if the file's name begins with `val`.

    Raises:
        ValueError: no row is usable; all bad ones are named.
    """
    split: Split = "test" if path.name.startswith("val") else "train"
    lines = enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)
    records = ((f"line {number}", (number, line)) for number, line in lines if line.strip())
    return read_rows(path, records, lambda record: _read_row(*record, split))


def _read_row(number: int, line: str, split: Split) -> ImportedRow:
    name, *fields = (field.strip() for field in line.split(","))
    found = _NAME.fullmatch(name)
    try:
        height, width, first, last, left, top, right, bottom = (int(field) for field in fields)
    except ValueError:
        found = None
        height = width = first = last = left = top = right = bottom = 0
    if found is None:
        raise ValueError(f"got {line!r}; <video>_<chunk> and eight whole numbers are needed")
    if not (0 <= first < last and height > 0 and width > 0 and left < right and top < bottom):
        raise ValueError(f"got {line!r}; first < last, left < right, top < bottom and a frame are needed")
    offset_s = CHUNK_S * int(found["chunk"])
    return ImportedRow(
        place=number,
        url=youtube_url(found["video"], "video"),
        start_s=offset_s + first / FPS,
        end_s=offset_s + (last + 1) / FPS,
        box=Box(left, top, right, bottom),
        frame_size=(width, height),
        split=split,
    )


IMPORTER = Importer(read_talkinghead)
