"""Reads the tags of a media file's container, such as those that `VideoWriter` writes."""

from pathlib import Path

from preprocessing.media.containers.packets import open_input


def read_tags(path: Path) -> dict[str, str]:
    """Return the tags by name; none if the file has none.

    Raises:
        UnreadableVideoError: it does not exist or is no media file.
    """
    with open_input(path) as container:
        return dict(container.metadata)
