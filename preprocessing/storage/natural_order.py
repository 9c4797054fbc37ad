"""The order of numbered files: by their numbers, not by the digits of these."""

import re
from pathlib import Path


def natural_order(path: Path) -> list[str | int]:
    """Return a sort key that puts `frame_2` before `frame_10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", str(path))]
