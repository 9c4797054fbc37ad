"""The header of a CSV file that users write: names are recognized in any case and with blanks around them."""

import difflib
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)


def read_header(names: Sequence[str], known: Collection[str], path: Path) -> list[str]:
    """Return the names without surrounding blanks, known ones in their own case; warn about unknown ones.

    Args:
        names: as the file has them.
        known: all names with a meaning, in lower case.
        path: the file, for messages.

    Raises:
        ValueError: a name stands twice.
    """
    stripped = (name.strip() for name in names)
    columns = [name.lower() if name.lower() in known else name for name in stripped]
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise ValueError(
            f"got {path} with more than one column {', '.join(twice)}; one is allowed; remove the others"
        )
    for name in columns:
        if name and name not in known:
            near = difflib.get_close_matches(name.lower(), known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            logger.warning("%s: unknown column %r has no effect%s", path, name, meant)
    return columns
