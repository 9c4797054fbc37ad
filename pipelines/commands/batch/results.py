"""The results of a batch while it runs, kept in results.csv of the output folder.

A run that is killed may leave the last seconds out; whoever animates the rows recognises what they have made.
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.commands.batch.places import Downloads, existing_files, is_url, joined, upload, version_of
from pipelines.commands.batch.rows import BatchRow, read_results, write_results

logger = logging.getLogger(__name__)

NAME = "results.csv"
WRITE_EVERY_S = 1.0
UPLOAD_EVERY_S = 10.0


class Results:
    """The rows of a batch and what has become of them.

    Args:
        rows: of the batch.
        place: of results.csv; rows that an earlier run finished keep their results.

    Raises:
        ValueError: there is a file of that name that no batch wrote.
        StoreError: the object store cannot be read.
    """

    def __init__(self, rows: Sequence[BatchRow], place: str) -> None:
        self._rows = rows
        self._place = place
        self._state = {row.key: row for row in rows}
        found = [row for row in _read(place) if row.key in self._state and row.has_succeeded]
        existing = existing_files([row.output for row in found])
        self._state |= {row.key: row for row in found if row.output in existing}
        self._written_s = float("-inf")

    def missing(self) -> list[BatchRow]:
        """Return the rows that are to be animated; rows that ask for the same are one."""
        return [row for row in self._state.values() if not row.has_succeeded and row.rejected is None]

    def update(self, changed: Iterable[BatchRow]) -> None:
        """Take new results of rows."""
        self._state |= {row.key: row for row in changed}
        every_s = UPLOAD_EVERY_S if is_url(self._place) else WRITE_EVERY_S
        if time.monotonic() - self._written_s >= every_s:
            self.write()

    def write(self) -> None:
        """Write results.csv."""
        rows = [self._state[row.key] for row in self._rows]
        if is_url(self._place):
            with tempfile.TemporaryDirectory() as folder:
                write_results(Path(folder, NAME), rows)
                upload(Path(folder, NAME), self._place)
        else:
            write_results(Path(self._place), rows)
        self._written_s = time.monotonic()

    def exit_code(self) -> int:
        """Return 0 if every row has its video, else 1, and say how many have none."""
        num_failed = sum(not self._state[row.key].has_succeeded for row in self._rows)
        if num_failed:
            logger.warning(
                "%d of %d rows have no video: see the errors in %s", num_failed, len(self._rows), self._place
            )
        return 1 if num_failed else 0


@contextmanager
def kept_results(rows: Sequence[BatchRow], output: str) -> Iterator[Results]:
    """Yield the results of a batch; they are written at the start and, however the block ends, at its end."""
    results = Results(rows, joined(output, NAME))
    results.write()
    logger.info("%d rows, %d to animate", len(rows), len(results.missing()))
    try:
        yield results
    finally:
        results.write()


def _read(place: str) -> list[BatchRow]:
    if not is_url(place):
        return read_results(Path(place))
    if version_of(place) is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        return read_results(Downloads(Path(folder)).local(place))
