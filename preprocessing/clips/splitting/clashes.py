"""Clashes: people of a video who are known from the other split, whose later clips cannot be kept. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from preprocessing.sources.source import Split

Appearance = tuple[str, int | None]
"""Row key of a source, and number of a person in it; None for who is not told apart."""


def find_clashes(
    appearances: Iterable[Appearance],
    names: Mapping[Appearance, str],
    matches: Mapping[Appearance, Collection[Appearance]],
    splits: Mapping[str, Split],
) -> set[Appearance]:
    """Return the appearances to leave out, so that nobody is in two splits.

    One is left out if an earlier one that is kept has its name or matches its face and is in the other split.

    Args:
        appearances: the oldest first.
        names: identity of each for whom the list gives it.
        matches: appearances whose faces are near enough to be the same person's, in both directions.
        splits: by row key; those divided by time are not checked.
    """
    kept: dict[str, set[Split]] = defaultdict(set)
    faces: dict[Appearance, Split] = {}
    clashes = set()
    for one in appearances:
        split, name = splits[one[0]], names.get(one)
        if split == "by_time":
            continue
        others = {faces[other] for other in matches.get(one, ()) if other in faces}
        if name is not None:
            others |= kept[name]
        if others - {split}:
            clashes.add(one)
            continue
        faces[one] = split
        if name is not None:
            kept[name].add(split)
    return clashes
