"""Which rows go to train and which to test, so that no video and no person is in both."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

from preprocessing.sources.source import Source, Split


def assign_splits(
    sources: Sequence[Source],
    test_fraction: float,
    seed: int,
    people: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Split]:
    """Return train, test or by_time for every row key.

    Rows that share a video or a person form a group and go to one split: the one a row of the group asks
    for, else by a hash of the group's name, so that adding sources never moves others. by_time rows keep
    their split.

    Args:
        sources: the rows.
        test_fraction: share of the groups without a wish that go to test.
        seed: which these are.
        people: names of those who were found in each row's video, beside its own identity, by row key.

    Raises:
        ValueError: rows of one group ask for different splits.
    """
    splits: dict[str, Split] = {}
    for group in _groups(sources, people or {}):
        wanted = {source.split for source in group} & {"train", "test"}
        if len(wanted) > 1:
            urls = ", ".join(sorted({f"{source.url} ({source.split})" for source in group}))
            raise ValueError(
                f"got one person or video in both train and test: {urls}; splits must share none; correct "
                "split or identity in data/sources.csv"
            )
        name = min(source.identity or source.key for source in group)
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        is_test = int.from_bytes(digest[:8], "big") / 2**64 < test_fraction
        chosen: Split = "test" if wanted == {"test"} or (not wanted and is_test) else "train"
        for source in group:
            splits[source.row_key] = "by_time" if source.split == "by_time" else chosen
    return splits


def mixed_groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the groups whose rows ask for both train and test."""
    return [
        group for group in _groups(sources, {}) if {"train", "test"} <= {source.split for source in group}
    ]


def _groups(sources: Iterable[Source], people: Mapping[str, Collection[str]]) -> list[list[Source]]:
    """Return the rows grouped so that no two groups share a video or a person."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        above = parent.setdefault(name, name)
        while above != name:
            # Halving the way up keeps it short, whatever the order of rows.
            parent[name] = parent[above]
            name = parent[name]
            above = parent[name]
        return name

    listed = list(sources)
    for source in listed:
        video = root(f"video {source.key}")
        names = () if source.identity is None else (source.identity,)
        for name in (*names, *people.get(source.row_key, ())):
            # A source divided by time shows its person on both sides by wish; nobody else must follow it.
            if source.split != "by_time" or name in names:
                parent[root(video)] = root(f"identity {name}")
    groups: dict[str, list[Source]] = {}
    for source in listed:
        groups.setdefault(root(f"video {source.key}"), []).append(source)
    return list(groups.values())
