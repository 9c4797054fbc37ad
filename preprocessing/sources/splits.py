"""Decides which rows go to train and which to test, so that no video and no person is in both."""

import hashlib
from array import array
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preprocessing.sources.source import Source, Split


def assign_splits(
    sources: Sequence[Source],
    test_fraction: float,
    seed: int,
    people: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Split]:
    """Return train, test or by_time for every row key.

    Rows that share a video or an identity form a group, and a group goes to one split: to the listed one if
    any of its rows has one, else by a hash of the group's name, so that new sources do not move old ones.
    Rows listed as by_time stay so.

    Args:
        sources: the rows.
        test_fraction: share of the groups without a listed split that go to test.
        seed: selects these groups.
        people: identities found in the video of each row beside the listed one, by row key.

    Raises:
        ValueError: rows of one group are listed in different splits.
    """
    splits: dict[str, Split] = {}
    for group in _groups(sources, people or {}):
        listed = {source.split for source in group} & {"train", "test"}
        if len(listed) > 1:
            urls = ", ".join(sorted({f"{source.url} ({source.split})" for source in group}))
            raise ValueError(
                f"got one person or video in both train and test: {urls}; splits must share none; correct "
                "split or identity in data/sources.csv"
            )
        name = min(source.identity or source.key for source in group)
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        is_test = int.from_bytes(digest[:8], "big") / 2**64 < test_fraction
        chosen: Split = "test" if listed == {"test"} or (not listed and is_test) else "train"
        for source in group:
            splits[source.row_key] = "by_time" if source.split == "by_time" else chosen
    return splits


def mixed_groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the groups with rows listed in train and rows listed in test."""
    return [
        group for group in _groups(sources, {}) if {"train", "test"} <= {source.split for source in group}
    ]


def _groups(sources: Sequence[Source], people: Mapping[str, Collection[str]]) -> list[list[Source]]:
    """Return the rows grouped so that no two groups share a video or an identity: connected components."""
    nodes: dict[str, int] = {}
    # Arrays, since lists have a million rows.
    videos, identities = array("l"), array("l")
    for source in sources:
        video = nodes.setdefault(f"video {source.key}", len(nodes))
        listed = () if source.identity is None else (source.identity,)
        # A by_time source shows its listed identity in both splits; others seen in it must not follow.
        found = () if source.split == "by_time" else people.get(source.row_key, ())
        for name in (*listed, *found):
            videos.append(video)
            identities.append(nodes.setdefault(f"identity {name}", len(nodes)))
    edges = coo_array((np.ones(len(videos), np.int8), (videos, identities)), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(edges, directed=False)
    groups: dict[int, list[Source]] = {}
    for source in sources:
        groups.setdefault(labels[nodes[f"video {source.key}"]], []).append(source)
    return list(groups.values())
