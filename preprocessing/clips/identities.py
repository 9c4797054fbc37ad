"""Identities: names for the persons seen in all sources, as listed or assigned. Pure.

A listed identity names the main person of its source, and with it every appearance of that person. All others
get a name made from the first source that shows them, such as `unnamed-<source>-<person>`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from preprocessing.faces.people import Person, cluster_embeddings
from preprocessing.sources.source import Source


class Identities(NamedTuple):
    """Names of persons across sources."""

    names: dict[tuple[str, int], str]
    """Identity by row key and person number."""
    lookalikes: list[tuple[str, str]]
    """Pairs of listed identities whose embeddings match; the list takes precedence and keeps them apart."""


def name_people(
    sources: Sequence[Source], people: Sequence[Sequence[Person]], max_distance: float | None
) -> Identities:
    """Give every person of every source an identity.

    Args:
        sources: the processed rows.
        people: the persons of each source, by number.
        max_distance: maximum distance of two embeddings of one person; None compares no persons across
            sources, so that each gets a name of its own.
    """
    seen = [
        (source, number, person)
        for source, found in zip(sources, people, strict=True)
        for number, person in enumerate(found)
    ]
    if max_distance is None:
        labels = list(range(len(seen)))
    else:
        embeddings = np.array([person.embedding for *_, person in seen], np.float32)
        labels = cluster_embeddings(embeddings, max_distance).tolist()
    main = {source.row_key: _main_person(found) for source, found in zip(sources, people, strict=True)}
    members: dict[int, list[tuple[Source, int]]] = defaultdict(list)
    listed: dict[int, set[str]] = defaultdict(set)
    for label, (source, number, _) in zip(labels, seen, strict=True):
        members[label].append((source, number))
        if source.identity is not None and number == main[source.row_key]:
            listed[label].add(source.identity)
    names: dict[tuple[str, int], str] = {}
    lookalikes = []
    for label, found in members.items():
        known = sorted(listed[label])
        lookalikes += [(known[0], other) for other in known[1:]]
        name = known[0] if len(known) == 1 else min(_new_name(source, number) for source, number in found)
        for source, number in found:
            is_main = number == main[source.row_key]
            names[source.row_key, number] = (source.identity or name) if is_main else name
    return Identities(names, lookalikes)


def _main_person(people: Sequence[Person]) -> int | None:
    """Return the number of the person seen in most frames, the one a listed identity names."""
    if not people:
        return None
    return max(range(len(people)), key=lambda number: (people[number].num_frames, -number))


def _new_name(source: Source, number: int) -> str:
    """Return a name for a person of a source; the parts of one video give different names."""
    part = source.row_key.removeprefix(source.key).removesuffix("-whole")
    return f"unnamed-{source.key[:12]}{part}-{number}"
