"""What changed in the list of sources since the run before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preprocessing.ledger import Download, SourceRow
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, canonical_key
from preprocessing.sources.source_list import BadRow


@dataclass(frozen=True)
class Difference:
    """A list against the ledger of the run before; every row of either is in one of these."""

    new: list[Source]
    """In the list alone."""
    changed: list[Source]
    """In both, and the list now says something else about them."""
    unchanged: list[Source]
    """In both, alike."""
    removed: list[str]
    """Row keys of those in the ledger alone."""

    def __str__(self) -> str:
        return (
            f"{len(self.new)} new, {len(self.changed)} changed, {len(self.unchanged)} unchanged, "
            f"{len(self.removed)} removed"
        )


def difference(sources: Sequence[Source], ledger: Iterable[Source]) -> Difference:
    """Return what the list changes; the ledger may be a stream, which is not kept in memory."""
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


def account_for(bad: BadRow) -> SourceRow:
    """Return the ledger's row for a row of the list that cannot be used, so that counts add up."""
    source = Source(url=bad.text, key=canonical_key(f"line {bad.line}: {bad.text}"))
    return SourceRow(source, Download(status=DownloadStatus.INVALID, error=str(bad)))
