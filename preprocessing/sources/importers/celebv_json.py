"""The JSON files of CelebV-HQ and CelebV-Text (Zhu et al. 2022; Yu et al. 2023).

`clips` maps names to `ytb_id`, `duration` (`start_sec`, `end_sec`) and `bbox` (`top`, `bottom`, `left` and
`right` in fractions of the frame).
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, read_rows, youtube_url

FRAME = (10_000, 10_000)
"""Fractions become whole numbers of this frame, since our list holds pixels."""

_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(allow_inf_nan=False)]


class _Duration(BaseModel):
    start_sec: _Time
    end_sec: _Time


class _Bbox(BaseModel):
    top: _Share
    bottom: _Share
    left: _Share
    right: _Share


class _Record(BaseModel):
    ytb_id: str
    duration: _Duration
    bbox: _Bbox


def read_celebv(path: Path) -> ImportedList:
    """Return the rows of a CelebV JSON file.

    Raises:
        ValueError: not such a file, or no clip is usable.
    """
    try:
        clips = json.loads(path.read_text(encoding="utf-8-sig"))["clips"]
        named = list(clips.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"got {path} without an object `clips`; is it the celebv-json file of CelebV-HQ or CelebV-Text?"
        ) from None
    return read_rows(path, ((name, (name, clip)) for name, clip in named), _read_clip)


def _read_clip(named: tuple[str, object]) -> ImportedRow:
    name, record = named
    try:
        clip = _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"got {key or record!r} {first['input']!r}; {first['msg'].lower()}") from None
    start_s, end_s, bbox = clip.duration.start_sec, clip.duration.end_sec, clip.bbox
    if end_s <= start_s:
        raise ValueError(f"got end_sec {end_s:g} and start_sec {start_s:g}; the end must come later")
    if not (bbox.left < bbox.right and bbox.top < bbox.bottom):
        raise ValueError("got an empty bbox; left < right and top < bottom are needed")
    width, height = FRAME
    sides = (width * bbox.left, height * bbox.top, width * bbox.right, height * bbox.bottom)
    return ImportedRow(
        place=name,
        url=youtube_url(clip.ytb_id, "ytb_id"),
        start_s=start_s,
        end_s=end_s,
        box=Box(*(round(side, 3) for side in sides)),
        frame_size=FRAME,
    )


IMPORTER = Importer(read_celebv)
