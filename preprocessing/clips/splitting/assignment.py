"""Assignment of identities, splits and duplicates, once all sources are processed. Pure.

No identity and no video is in two splits: `check_splits` proves it for the clips about to be written.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from preprocessing.clips.recordings.duplicates import find_duplicates
from preprocessing.clips.sample import KeptClip
from preprocessing.clips.splitting.clashes import Appearance, find_clashes
from preprocessing.clips.splitting.identities import name_people, new_name
from preprocessing.clips.stored_result import SourceSummary
from preprocessing.ledger import ClipRow
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source, Split
from preprocessing.sources.splits import assign_splits, oldest_first

OTHER_SPLIT = "other_split"
"""Reason of clips that show a person whose earlier clips are in the other split."""


class Assignment(NamedTuple):
    """Rows for the ledger and clips for the shards."""

    rows: list[ClipRow]
    clips: list[KeptClip]
    lookalikes: list[tuple[str, str]]
    """Pairs of listed identities that look like one person; see `Identities`."""

    @property
    def num_clashes(self) -> int:
        """Return how many clips were left out since they show a person of the other split."""
        return sum(row.reason == OTHER_SPLIT for row in self.rows)


def assign(
    sources: Sequence[Source],
    results: Sequence[SourceSummary],
    settings: ShardsSettings,
    max_distance: float,
    former: Mapping[str, Split] | None = None,
) -> Assignment:
    """Name the persons, choose the splits and filter duplicates.

    Args:
        sources: the processed rows.
        results: their results, in the same order.
        settings: test_fraction, seed, and the limits for identities and duplicates.
        max_distance: greatest distance of two embeddings of one person.
        former: splits of an earlier run by the video's key, which stand.

    Raises:
        ValueError: an identity or a video would be in two splits.
    """
    across = max_distance if settings.identity.across_sources else None
    former = former or {}
    found = {result.row_key: result for result in results}
    ordered = oldest_first(sources, former)
    aged = [found[source.row_key] for source in ordered]
    names, matches, lookalikes = name_people(ordered, [result.people for result in aged], across)
    duplicates = _duplicates(results, settings.quality.min_duplicate_similarity)
    seen = _seen_together(sources, results, duplicates)
    for (row_key, _), name in names.items():
        seen[row_key].add(name)
    ages = {source.row_key: age for age, source in enumerate(ordered)}
    for (row_key, _), others in matches.items():
        # Names of later ones must not join earlier ones to each other.
        seen[row_key].update(names[other] for other in others if ages[other[0]] < ages[row_key])
    splits = assign_splits(sources, settings.test_fraction, settings.seed, seen, former)
    shown: dict[Appearance, str | None] = {
        (source.row_key, row.person): _identity(source, row, names)
        for source, result in zip(ordered, aged, strict=True)
        for row in result.rows
        if row.outcome == "kept"
    }
    own: dict[Appearance, str] = {
        (source.row_key, person): source.identity
        for source in ordered
        for person in (None, *range(len(found[source.row_key].people)))
        if source.identity is not None
        and (person is None or names[source.row_key, person] == source.identity)
    }
    near: dict[Appearance, list[Appearance]] = {one: [*others] for one, others in matches.items()}
    clashes = find_clashes(shown, own, near, splits)
    names |= _names_of_their_own(shown, own, {source.row_key: source for source in ordered}, splits, clashes)
    rows, clips = [], []
    for source, result in zip(sources, results, strict=True):
        split = splits[source.row_key]
        identities = {row.key: _identity(source, row, names) for row in result.rows}
        clashing = {row.key for row in result.rows if (row.row_key, row.person) in clashes}
        rows += [_assigned_row(row, identities[row.key], split, duplicates, clashing) for row in result.rows]
        dropped = duplicates.keys() | clashing
        clips += [
            _assigned_clip(clip, identities[clip.key], split, dropped)
            for clip in result.clips
            if clip.key not in dropped
        ]
    check_splits(clips)
    check_accounts(sources, rows, clips)
    return Assignment(rows, clips, lookalikes)


def check_accounts(sources: Sequence[Source], rows: Sequence[ClipRow], clips: Sequence[KeptClip]) -> None:
    """Check that every source and candidate is in exactly one state, and that just the kept ones have a clip.

    Raises:
        RuntimeError: they are not, which is a bug of ours; the message names the first few.
    """
    counts = Counter(row.key for row in rows)
    wanted, found = {source.row_key for source in sources}, {row.row_key for row in rows}
    kept = {row.key for row in rows if row.outcome == "kept"}
    given = Counter(clip.key for clip in clips)
    wrong = {
        "in more than one state": [key for key, count in counts.items() if count > 1],
        "without a state": [*(wanted - found), *(key for key in given if key not in counts)],
        "of no source": list(found - wanted),
        "without a reason": [row.key for row in rows if not _has_reason(row)],
        "kept without a clip": list(kept - given.keys()),
        "with a clip but not kept": list(given.keys() & counts.keys() - kept),
        "with two clips": [key for key, count in given.items() if count > 1],
    }
    problems = [f"{what}: {', '.join(sorted(keys)[:3])}" for what, keys in wrong.items() if keys]
    if problems:
        raise RuntimeError(
            f"the ledger does not add up ({'; '.join(problems)}); nothing was written; report this as a bug"
        )


def check_splits(clips: Sequence[KeptClip]) -> None:
    """Check that no identity and no video is in two splits, except in sources divided by time.

    Raises:
        ValueError: one is; the message names all.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for clip in (one for one in clips if not one.by_time):
        seen[f"video {clip.url}"].add(clip.split)
        if clip.identity is not None:
            seen[f"identity {clip.identity}"].add(clip.split)
    leaks = sorted(name for name, splits in seen.items() if len(splits) > 1)
    if leaks:
        raise ValueError(
            f"got {len(leaks)} in both train and test: {', '.join(leaks)}; splits must share neither "
            "identities nor videos; correct split or identity in data/sources.csv"
        )


def _assigned_row(
    row: ClipRow,
    identity: str | None,
    split: Split,
    duplicates: Mapping[str, str],
    clashing: Collection[str],
) -> ClipRow:
    has_length = row.num_frames is not None
    changes: dict[str, Any] = {"identity": identity, "split": (row.split or split) if has_length else None}
    if row.key in duplicates:
        changes |= {"outcome": "filtered", "reason": "duplicate", "duplicate_of": duplicates[row.key]}
    elif row.key in clashing and row.outcome == "kept":
        changes |= {"outcome": "filtered", "reason": OTHER_SPLIT}
    return replace(row, **changes)


def _assigned_clip(clip: KeptClip, identity: str | None, split: Split, dropped: Collection[str]) -> KeptClip:
    return clip._replace(
        identity=identity,
        split=clip.split if clip.by_time else "test" if split == "test" else "train",
        follows=None if clip.follows in dropped else clip.follows,
    )


def _identity(source: Source, row: ClipRow, names: Mapping[tuple[str, int], str]) -> str | None:
    return source.identity if row.person is None else names[source.row_key, row.person]


def _names_of_their_own(
    shown: Mapping[Appearance, str | None],
    own: Mapping[Appearance, str],
    sources: Mapping[str, Source],
    splits: Mapping[str, Split],
    clashes: Collection[Appearance],
) -> dict[tuple[str, int], str]:
    """Return new names for those whose face gave them the name of a person who is in the other split.

    No face there matches theirs, so they are somebody else.
    """
    kept: dict[str, set[Split]] = defaultdict(set)
    checked = [one for one in shown if one not in clashes and splits[one[0]] != "by_time"]
    renamed = {}
    # What the list says comes first.
    for one in sorted(checked, key=lambda one: one not in own):
        name, (row_key, number) = shown[one], one
        if name is None:
            continue
        if number is not None and one not in own and kept[name] - {splits[row_key]}:
            renamed[row_key, number] = new_name(sources[row_key], number)
        else:
            kept[name].add(splits[row_key])
    return renamed


def _has_reason(row: ClipRow) -> bool:
    by_outcome = {
        "kept": row.reason is None and row.error is None,
        "filtered": bool(row.reason) and row.error is None,
        "failed": bool(row.error) and row.reason is None and row.retryable is not None,
    }
    return by_outcome.get(row.outcome, False)


def _duplicates(results: Sequence[SourceSummary], min_similarity: float | None) -> dict[str, str]:
    if min_similarity is None:
        return {}
    found = (clip for result in results for clip in result.clips)
    # Of copies, the one that shows most of its source is kept.
    kept = sorted(found, key=lambda one: (-one.num_source_pixels, one.key))
    return find_duplicates(
        {one.key: one.signature for one in kept},
        {one.key: one.source_key for one in kept},
        min_similarity,
    )


def _seen_together(
    sources: Sequence[Source], results: Sequence[SourceSummary], duplicates: Mapping[str, str]
) -> dict[str, set[str]]:
    """Return a name, by row key, for each recording that several videos show: they go to one split.

    The rest of such a video shows the same people. Rows with a listed split are left out, since the list
    takes precedence: they lose only their duplicates.
    """
    row_keys = {one.key: result.row_key for result in results for one in result.clips}
    is_free = {source.row_key for source in sources if source.split == "auto"}
    seen: dict[str, set[str]] = defaultdict(set)
    for pair in duplicates.items():
        for row_key in {row_keys[key] for key in pair} & is_free:
            seen[row_key].add(f"recording {pair[1]}")
    return seen
