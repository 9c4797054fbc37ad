"""Files that outlive a loss of power."""

import os
from pathlib import Path


def make_durable(path: Path) -> None:
    """Sync the file or folder at `path` to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
