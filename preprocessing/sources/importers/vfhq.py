"""The text files of VFHQ (Xie et al. 2022), one a clip: `Clip+<video>+P<person>+C<clip>+F<first>-<last>.txt`.

Lines `H`, `W`, `FPS` and `CROP` end in the frame's height and width, its rate, and left, top, right and
bottom of the face. First and last are frames at that rate. Persons are numbered anew in each video, so they
are no identities.
"""

import re
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, read_rows, youtube_url

_NAME = re.compile(r"[^+]*\+(?P<video>[^+]+)\+P\d+\+C\d+\+F(?P<first>\d+)-(?P<last>\d+)\.txt")
_NUM_VALUES = {"H": 1, "W": 1, "FPS": 1, "CROP": 4}


def read_vfhq(path: Path) -> ImportedList:
    """Return one row for every clip's file in a folder and below, or for one such file.

    Raises:
        ValueError: no file is usable; all bad ones are named.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    if not files:
        raise ValueError(f"got no .txt file in {path}; the folder of VFHQ's files, one a clip, is needed")
    return read_rows(path, ((file.name, file) for file in files), _read_clip)


def _read_clip(file: Path) -> ImportedRow:
    found = _NAME.fullmatch(file.name)
    if found is None:
        raise ValueError("got another name than Clip+<video>+P<person>+C<clip>+F<first>-<last>.txt")
    facts = _facts(file)
    left, top, right, bottom = facts["CROP"]
    ((height,), (width,), (fps,)) = (facts[name] for name in ("H", "W", "FPS"))
    first, last = int(found["first"]), int(found["last"])
    if not (first < last and fps > 0 and height >= 1 and width >= 1 and left < right and top < bottom):
        raise ValueError(
            f"got frames {first}-{last} at {fps:g} fps and a face {left:g} {top:g} {right:g} {bottom:g} in a "
            f"frame of {width:g}x{height:g} px; first < last, left < right and top < bottom are needed"
        )
    return ImportedRow(
        place=file.name,
        url=youtube_url(found["video"], "video"),
        start_s=first / fps,
        end_s=last / fps,
        box=Box(left, top, right, bottom),
        frame_size=(int(width), int(height)),
    )


def _facts(file: Path) -> dict[str, list[float]]:
    """Return the numbers at the end of each line that is needed, by its first word."""
    facts: dict[str, list[float]] = {}
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        name, *fields = line.replace(":", " ").split() or [""]
        num_values = _NUM_VALUES.get(name, 0)
        try:
            values = [float(field) for field in fields[-num_values:]] if num_values else []
        except ValueError:
            values = []
        if num_values and len(values) == num_values:
            facts[name] = values
    missing = [name for name in _NUM_VALUES if name not in facts]
    if missing:
        raise ValueError(f"got no line {' and no line '.join(missing)} with its numbers; it is needed")
    return facts


IMPORTER = Importer(read_vfhq, takes_folder=True)
