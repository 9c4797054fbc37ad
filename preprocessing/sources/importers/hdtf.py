"""The text files of HDTF (Zhang et al. 2021): four for each of its subsets RD, WDA and WRA.

*_video_url.txt: `<name> <url>`; *_annotion_time.txt (sic): `<name>.mp4 <from>-<to> <from>-<to> ...`;
*_resolution.txt: `<name>.mp4 <height>`; *_crop_wh.txt: `<name>_<clip>.mp4 <left> <width> <top> <height>`, in
a frame of that height. A video's name is its identity.
"""

import re
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedList, ImportedRow, Importer, require_rows

_TIME = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_URLS = "_video_url.txt"


def read_hdtf(path: Path) -> ImportedList:
    """Return one row for every clip in the folder of HDTF's files, or in those beside one `*_video_url.txt`.

    Raises:
        ValueError: no row is usable; all bad ones are named.
    """
    files = [path] if path.is_file() else sorted(path.glob(f"*{_URLS}"))
    if not files or not all(file.name.endswith(_URLS) for file in files):
        raise ValueError(f"got {path}; a file *{_URLS} of HDTF or the folder of them is needed")
    rows: list[ImportedRow] = []
    problems: list[str] = []
    for file in files:
        _read_subset(file, rows, problems)
    return require_rows(path, rows, problems)


def _read_subset(urls: Path, rows: list[ImportedRow], problems: list[str]) -> None:
    subset = urls.name.removesuffix(_URLS)
    times, heights, crops = (
        _table(urls.with_name(f"{subset}_{name}.txt")) for name in ("annotion_time", "resolution", "crop_wh")
    )
    if not times:
        problems.append(f"got no {subset}_annotion_time.txt beside {urls.name}; it holds the clips' times")
        return
    for name, url in _table(urls).items():
        place = f"{urls.name}: {name}"
        if len(url) != 1 or not url[0].startswith(("http://", "https://")):
            problems.append(f"{place}: got {' '.join(url)!r}; a name and its address are needed")
            continue
        # A few videos have an address but no times; they are not part of the data set.
        for number, span in enumerate(times.get(name, ())):
            try:
                start_s, end_s = _span(span)
                crop = crops.get(f"{name}_{number}")
                box, frame_size = _window(crop, heights.get(name)) if crop else (None, None)
            except ValueError as error:
                problems.append(f"{place}, clip {number}: {error}")
                continue
            row = ImportedRow(
                place=f"{place}, clip {number}", url=url[0], start_s=start_s, end_s=end_s, box=box,
                frame_size=frame_size, identity=f"{subset}_{name}",
            )  # fmt: skip
            rows.append(row)


def _table(path: Path) -> dict[str, list[str]]:
    """Return each line's other fields by its first, a video's name; empty if the file does not exist."""
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return {fields[0].removesuffix(".mp4"): fields[1:] for fields in lines if fields}


def _span(text: str) -> tuple[float, float]:
    times = [_TIME.fullmatch(part) for part in text.split("-")]
    if len(times) != 2 or None in times:
        raise ValueError(f"got time {text!r}; minutes:seconds-minutes:seconds is needed")
    start_s, end_s = (
        3600 * int(found[1] or 0) + 60 * int(found[2]) + float(found[3])
        for found in times
        if found is not None
    )
    if end_s <= start_s:
        raise ValueError(f"got time {text!r}; the end must come later")
    return start_s, end_s


def _window(crop: list[str], resolution: list[str] | None) -> tuple[Box, tuple[int, int]]:
    try:
        left, width, top, height = (float(field) for field in crop)
        frame_height = int((resolution or [""])[0])
    except ValueError:
        left = width = top = height = 0.0
        frame_height = 0
    if not (width > 0 and height > 0 and frame_height > 0):
        raise ValueError(
            f"got crop {' '.join(crop)!r} in a frame {' '.join(resolution or ['of no height'])}; left, "
            "width, top and height in a frame of known height are needed"
        )
    # The width is that of the video's own aspect.
    return Box(left, top, left + width, top + height), (0, frame_height)


IMPORTER = Importer(read_hdtf, takes_folder=True)
