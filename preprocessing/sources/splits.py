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
    former: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Return train, test or by_time for every row key.

    All rows of a video go to one split: to the listed one, or the one the video had before, or that of the
    earliest video with a person of this one, or else by a hash. Later rows therefore never move earlier ones.
    A video that shows people of both splits goes to that of the earliest; whose clips it then may not keep is
    for `find_clashes` to say. Rows listed as by_time stay so.

    Args:
        sources: the rows; older ones first.
        test_fraction: share of the people without a listed split that go to test.
        seed: selects them.
        people: names of the people found in the video of each row beside the listed one, by row key.
        former: splits of an earlier run by the video's key; these videos count as the earliest.

    Raises:
        ValueError: rows of one identity or video are listed in different splits.
    """
    for group in mixed_groups(sources):
        urls = ", ".join(sorted({f"{source.url} ({source.split})" for source in group}))
        raise ValueError(
            f"got one person or video in both train and test: {urls}; splits must share none; correct "
            "split or identity in data/sources.csv"
        )
    people, former = people or {}, former or {}
    videos: dict[str, list[Source]] = {}
    for source in oldest_first(sources, former):
        videos.setdefault(source.key, []).append(source)
    first: dict[str, tuple[int, Split]] = {}
    splits: dict[str, Split] = {}
    for place, (key, rows) in enumerate(videos.items()):
        names = {source.identity for source in rows if source.identity is not None}
        # A by_time source shows its listed identity in both splits; others seen in it must not follow.
        names.update(*(people.get(source.row_key, ()) for source in rows if source.split != "by_time"))
        chosen = _listed(rows) or former.get(key)
        if chosen is None:
            known = [first[name] for name in names if name in first]
            chosen = min(known)[1] if known else _drawn(rows, test_fraction, seed)
        for name in names:
            first.setdefault(name, (place, chosen))
        for source in rows:
            splits[source.row_key] = "by_time" if source.split == "by_time" else chosen
    return splits


def oldest_first(sources: Sequence[Source], former: Collection[str]) -> list[Source]:
    """Return the rows in order of age: those whose video an earlier run had, by its key, then the others."""
    return sorted(sources, key=lambda source: source.key not in former)


def _listed(rows: Sequence[Source]) -> Split | None:
    return next((source.split for source in rows if source.split in ("train", "test")), None)


def _drawn(rows: Sequence[Source], test_fraction: float, seed: int) -> Split:
    name = min(source.identity or source.key for source in rows)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_fraction else "train"


def mixed_groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the groups with rows listed in train and rows listed in test."""
    return [group for group in _groups(sources) if {"train", "test"} <= {source.split for source in group}]


def _groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the rows grouped so that no two groups share a video or an identity: connected components."""
    nodes: dict[str, int] = {}
    # Arrays, since lists have a million rows.
    videos, identities = array("l"), array("l")
    for source in sources:
        video = nodes.setdefault(f"video {source.key}", len(nodes))
        if source.identity is not None:
            videos.append(video)
            identities.append(nodes.setdefault(f"identity {source.identity}", len(nodes)))
    edges = coo_array((np.ones(len(videos), np.int8), (videos, identities)), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(edges, directed=False)
    groups: dict[int, list[Source]] = {}
    for source in sources:
        groups.setdefault(labels[nodes[f"video {source.key}"]], []).append(source)
    return list(groups.values())
