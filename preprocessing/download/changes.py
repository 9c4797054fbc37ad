"""Compares the list of sources with the ledger of the previous run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preprocessing.download.credentials import mask_credentials
from preprocessing.ledger import Download, SourceRow
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, text_key
from preprocessing.sources.source_list import BadRow


@dataclass(frozen=True)
class Difference:
    """Every row of the list and of the ledger, in exactly one of four lists."""

    new: list[Source]
    """Only in the list."""
    changed: list[Source]
    """In both with different values; these are the list's."""
    unchanged: list[Source]
    """In both, equal."""
    removed: list[str]
    """Row keys of sources that are only in the ledger."""

    def __str__(self) -> str:
        return (
            f"{len(self.new)} new, {len(self.changed)} changed, {len(self.unchanged)} unchanged, "
            f"{len(self.removed)} removed"
        )


def difference(sources: Sequence[Source], ledger: Iterable[Source]) -> Difference:
    """Return the differences; `ledger` is consumed as a stream, since it may hold a million rows."""
    left = {source.row_key: source for source in sources}
    changed, unchanged, removed = [], [], []
    for before in ledger:
        row_key = before.row_key
        source = left.pop(row_key, None)
        if source is None:
            removed.append(row_key)
        else:
            (unchanged if source == before else changed).append(source)
    return Difference(list(left.values()), changed, unchanged, removed)


def invalid_row(bad: BadRow) -> SourceRow:
    """Return the ledger's row for a bad row of the list, so that counts add up."""
    url = mask_credentials(bad.text)
    source = Source(url=url, key=text_key(f"line {bad.line}: {bad.text}"))
    return SourceRow(source, Download(status=DownloadStatus.INVALID, error=mask_credentials(str(bad))))
