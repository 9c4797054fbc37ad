"""Files that only their owner may read."""

import os
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Write `path` anew with mode 600, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
