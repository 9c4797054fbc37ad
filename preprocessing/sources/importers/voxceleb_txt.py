"""VoxCeleb's text files: one per face track, in folders by person and video.

Nagrani et al. 2017; Chung et al. 2018. `Name : value` lines, an empty line, then a table FRAME X Y W H, all
separated by tabs and blanks. Frames are at 25 fps. Boxes are fractions of the frame or, in older files,
pixels of the frame at 360 px high.
"""

from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, read_rows, youtube_url

FPS = 25
PIXEL_FRAME = (0, 360)
"""The width is that of the video's own aspect."""
FRACTION_FRAME = (10_000, 10_000)
"""Fractions become whole numbers of this frame, since our list holds pixels."""


def read_voxceleb(path: Path) -> ImportedList:
    """Return one row for every .txt file in a folder, or for one such file.

    Raises:
        ValueError: no file is usable; all bad ones are named.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    if not files:
        raise ValueError(f"got no .txt file in {path}; VoxCeleb's tree of person, video and track is needed")
    places = [file.name if file == path else str(file.relative_to(path)) for file in files]
    return read_rows(
        path, ((place, (place, file)) for place, file in zip(places, files, strict=True)), _read_track
    )


def _read_track(named: tuple[str, Path]) -> ImportedRow:
    place, file = named
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(str(error)) from error
    facts: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if line.split()[:1] == ["FRAME"]:
            break
        name, separator, value = line.partition(":")
        if separator:
            facts[name.strip().lower()] = value.strip()
    for name in ("identity", "reference"):
        if not facts.get(name):
            raise ValueError(f"got no line `{name.capitalize()} : ...` before FRAME X Y W H; it is needed")
    table = [_read_line(line) for line in lines if line.strip()]
    if not table:
        raise ValueError("got no frames after FRAME X Y W H; at least one is needed")
    frames = [number for number, _ in table]
    if frames != sorted(set(frames)):
        raise ValueError("got frame numbers that do not increase; one line per frame is needed")
    boxes = [box for _, box in table]
    is_fraction = max(max(box) for box in boxes) <= 2
    across, down = FRACTION_FRAME if is_fraction else (1, 1)
    return ImportedRow(
        place=place,
        url=youtube_url(facts["reference"], "Reference"),
        start_s=frames[0] / FPS,
        end_s=(frames[-1] + 1) / FPS,
        box=Box(
            round(across * min(box.left for box in boxes), 3),
            round(down * min(box.top for box in boxes), 3),
            round(across * max(box.right for box in boxes), 3),
            round(down * max(box.bottom for box in boxes), 3),
        ),
        frame_size=FRACTION_FRAME if is_fraction else PIXEL_FRAME,
        identity=facts["identity"],
    )


def _read_line(line: str) -> tuple[int, Box]:
    try:
        frame, left, top, width, height = (float(value) for value in line.split())
    except ValueError:
        raise ValueError(f"got line {line.strip()!r}; frame, x, y, width and height are needed") from None
    if not (width > 0 and height > 0 and frame >= 0):
        raise ValueError(f"got line {line.strip()!r}; sizes above 0 and frames from 0 are needed")
    return int(frame), Box(left, top, left + width, top + height)


IMPORTER = Importer(read_voxceleb, takes_folder=True)
