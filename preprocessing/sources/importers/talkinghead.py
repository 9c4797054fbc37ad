"""The tube lists of TalkingHead-1KH: `<video>_<chunk>,height,width,first,last,left,top,right,bottom`.

Wang et al. 2021. Videos were cut into chunks of a minute, and frames count from the chunk's beginning at the
video's own rate, which the list does not say: 25 a second is taken, so that parts of faster videos begin and
end somewhat late.
"""

import re
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importers.imported import ImportedRow, bad_rows, youtube_url

FPS = 25
CHUNK_S = 60

_NAME = re.compile(r"(?P<video>.+)_(?P<chunk>\d{4})")


def read_talkinghead(path: Path) -> list[ImportedRow]:
    """Return the rows of a list of tubes; its split is `test` where the file's name begins with `val`.

    Raises:
        ValueError: rows are bad, or there are none; all are named at once.
    """
    split = "test" if path.name.startswith("val") else "train"
    rows, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(_read_row(number, line, split))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems or not rows:
        raise bad_rows(path, problems)
    return rows


def _read_row(number: int, line: str, split: str) -> ImportedRow:
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
        identity=None,
        split=split,
    )
