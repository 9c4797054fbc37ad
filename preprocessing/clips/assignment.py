"""Who each clip shows and which split it belongs to, decided once every source is known. Pure.

Nobody and no video is ever in two splits: `check_splits` proves it for what is about to be written.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from preprocessing.clips.duplicates import find_duplicates
from preprocessing.clips.sample import PreparedClip
from preprocessing.clips.source_run import Result
from preprocessing.faces.people import cluster
from preprocessing.ledger import ClipRow
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source
from preprocessing.sources.splits import assign_splits


class Assigned(NamedTuple):
    """What goes into the ledger and into the shards."""

    rows: list[ClipRow]
    prepared: list[PreparedClip]
    lookalikes: list[tuple[str, str]]
    """Names in the list that belong to one face, as far as the embeddings tell; the list was believed."""


def assign(
    sources: Sequence[Source], results: Sequence[Result], settings: ShardsSettings, max_distance: float
) -> Assigned:
    """Name the people, choose splits, and leave out what another video has already shown.

    Args:
        sources: the rows that were processed, in the order of `results`.
        results: what came of each.
        settings: test_fraction, seed, and the limits for people and duplicates.
        max_distance: greatest distance of two embeddings of one person.

    Raises:
        ValueError: a person or a video would be in two splits.
    """
    across = max_distance if settings.identity.across_sources else None
    names, lookalikes = _names(sources, results, across)
    found: dict[str, set[str]] = defaultdict(set)
    for (row_key, _), name in names.items():
        found[row_key].add(name)
    splits = assign_splits(sources, settings.test_fraction, settings.seed, found)
    duplicates = _duplicates(results, settings.quality.max_duplicate_distance)
    rows, prepared = [], []
    for source, result in zip(sources, results, strict=True):
        identities = {row.key: _identity(source, row, names) for row in result.rows}
        for row in result.rows:
            changes: dict[str, object] = {
                "identity": identities[row.key],
                "split": row.split or splits[source.row_key] if row.num_frames is not None else None,
            }
            if row.key in duplicates:
                changes |= {"outcome": "filtered", "reason": "duplicate", "duplicate_of": duplicates[row.key]}
            rows.append(row.model_copy(update=changes))
        for clip in result.prepared:
            if clip.clip.key in duplicates:
                continue
            changes = {"identity": identities[clip.clip.key]}
            if not clip.clip.by_time:
                changes["split"] = splits[source.row_key]
            if clip.clip.follows in duplicates:
                changes["follows"] = None
            prepared.append(clip.model_copy(update={"clip": clip.clip.model_copy(update=changes)}))
    check_splits(prepared)
    check_accounts(sources, rows, prepared)
    return Assigned(rows, prepared, lookalikes)


def check_accounts(
    sources: Sequence[Source], rows: Sequence[ClipRow], prepared: Sequence[PreparedClip]
) -> None:
    """Prove that every source and every candidate is in exactly one state, and that just the kept ones go on.

    Raises:
        RuntimeError: one is not, which is a bug of ours; the first few are named.
    """
    counts = Counter(row.key for row in rows)
    wanted, found = {source.row_key for source in sources}, {row.row_key for row in rows}
    kept = {row.key for row in rows if row.outcome == "kept"}
    given = Counter(clip.clip.key for clip in prepared)
    wrong = {
        "in more than one state": [key for key, count in counts.items() if count > 1],
        "without a state": [*(wanted - found), *(key for key in given if key not in counts)],
        "of no source": list(found - wanted),
        "without a reason": [row.key for row in rows if not _says_why(row)],
        "kept, and without a clip": list(kept - given.keys()),
        "with a clip, and not kept": list(given.keys() & counts.keys() - kept),
        "with two clips": [key for key, count in given.items() if count > 1],
    }
    told = [f"{what}: {', '.join(sorted(keys)[:3])}" for what, keys in wrong.items() if keys]
    if told:
        raise RuntimeError(
            f"the ledger does not add up ({'; '.join(told)}); nothing was written; report this as a bug"
        )


def _says_why(row: ClipRow) -> bool:
    is_told = {
        "kept": row.reason is None and row.error is None,
        "filtered": bool(row.reason) and row.error is None,
        "failed": bool(row.error) and row.reason is None and row.retryable is not None,
    }
    return is_told.get(row.outcome, False)


def check_splits(prepared: Sequence[PreparedClip]) -> None:
    """Prove that no person and no video is in two splits, apart from sources that are divided by time.

    Raises:
        ValueError: one is; all are named.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for clip in (one.clip for one in prepared if not one.clip.by_time):
        seen[f"video {clip.url}"].add(clip.split)
        if clip.identity is not None:
            seen[f"person {clip.identity}"].add(clip.split)
    leaks = sorted(name for name, splits in seen.items() if len(splits) > 1)
    if leaks:
        raise ValueError(
            f"got {len(leaks)} in both train and test: {', '.join(leaks)}; splits must share neither people "
            "nor videos; correct split or identity in data/sources.csv"
        )


_Names = dict[tuple[str, int], str]


def _names(
    sources: Sequence[Source], results: Sequence[Result], max_distance: float | None
) -> tuple[_Names, list[tuple[str, str]]]:
    """Return a name for every (part of a source, person), and listed names that seem to be one person."""
    places = [
        (source, number, person)
        for source, result in zip(sources, results, strict=True)
        for number, person in enumerate(result.people)
    ]
    if max_distance is None:
        labels = list(range(len(places)))
    else:
        embeddings = np.array([person.embedding for *_, person in places], np.float32)
        labels = cluster(embeddings, max_distance).tolist()
    members: dict[int, list[tuple[Source, int]]] = defaultdict(list)
    listed: dict[int, set[str]] = defaultdict(set)
    main = {source.row_key: _main_person(result) for source, result in zip(sources, results, strict=True)}
    for label, (source, number, _) in zip(labels, places, strict=True):
        members[label].append((source, number))
        if source.identity is not None and number == main[source.row_key]:
            listed[label].add(source.identity)
    names: _Names = {}
    lookalikes = []
    for label, people in members.items():
        found = sorted(listed[label])
        lookalikes += [(found[0], other) for other in found[1:]]
        first = min(f"{source.row_key[:12]}-{number}" for source, number in people)
        name = found[0] if len(found) == 1 else f"unnamed-{first}"
        for source, number in people:
            is_listed = source.identity is not None and number == main[source.row_key]
            names[source.row_key, number] = source.identity or name if is_listed else name
    return names, lookalikes


def _main_person(result: Result) -> int | None:
    """Return the number of the person who is seen longest: the one whom the list names."""
    if not result.people:
        return None
    return max(range(len(result.people)), key=lambda number: (result.people[number].num_frames, -number))


def _identity(source: Source, row: ClipRow, names: _Names) -> str | None:
    if row.person is None:
        return source.identity
    return names[source.row_key, row.person]


def _duplicates(results: Sequence[Result], max_distance: float | None) -> dict[str, str]:
    if max_distance is None:
        return {}
    kept = [row for result in results for row in result.rows if row.outcome == "kept"]
    return find_duplicates(
        {row.key: str(row.perceptual_hash) for row in kept},
        {row.key: row.source_key for row in kept},
        max_distance,
    )
