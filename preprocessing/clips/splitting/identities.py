"""Identities: names for the persons seen in all sources, as listed or assigned. Pure.

A listed identity names the main person of its source, and with it every appearance of that person. All others
get a name made from the first source that shows them, such as `unnamed-<source>-<person>`.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from preprocessing.faces.people import Person, near_embeddings
from preprocessing.sources.source import Source


class Identities(NamedTuple):
    """Names of persons across sources."""

    names: dict[tuple[str, int], str]
    """Identity by row key and person number."""
    matches: dict[tuple[str, int], list[tuple[str, int]]]
    """For each person with any: the others whose embeddings match, whatever their names."""
    lookalikes: list[tuple[str, str]]
    """Pairs of listed identities whose embeddings match; the list takes precedence and keeps them apart."""


def name_people(
    sources: Sequence[Source], people: Sequence[Sequence[Person]], max_distance: float | None
) -> Identities:
    """Give every person of every source an identity.

    A person joins an earlier one only if its embedding matches those of all that have joined before (complete
    linkage), so one blurred face does not make two people one, and later sources leave earlier ones as they
    are.

    Args:
        sources: the processed rows, the oldest first.
        people: the persons of each source, by number.
        max_distance: maximum distance of two embeddings of one person; None compares no persons across
            sources, so that each gets a name of its own.
    """
    seen = [
        (source, number, person)
        for source, found in zip(sources, people, strict=True)
        for number, person in enumerate(found)
    ]
    near: dict[int, list[tuple[float, int]]] = {}
    if max_distance is not None and seen:
        near = near_embeddings(np.array([person.embedding for *_, person in seen], np.float32), max_distance)
    labels = _join(len(seen), near)
    main = {source.row_key: _main_person(found) for source, found in zip(sources, people, strict=True)}
    listed = [source.identity if number == main[source.row_key] else None for source, number, _ in seen]
    names: dict[tuple[str, int], str] = {}
    firsts: dict[int, str] = {}
    known: dict[int, set[str]] = defaultdict(set)
    for label, own, (source, number, _) in zip(labels, listed, seen, strict=True):
        first = firsts.setdefault(label, new_name(source, number))
        # The name that the list gives to those before; one that comes later renames nobody.
        shared = next(iter(known[label])) if len(known[label]) == 1 else first
        names[source.row_key, number] = own or shared
        if own is not None:
            known[label].add(own)
    keys = [(source.row_key, number) for source, number, _ in seen]
    matches = {keys[place]: [keys[other] for _, other in found] for place, found in near.items()}
    return Identities(names, matches, _lookalikes(listed, near))


def _join(count: int, near: Mapping[int, Sequence[tuple[float, int]]]) -> list[int]:
    """Return a label for each of `count` embeddings, in order; only earlier ones decide."""
    labels: list[int] = []
    sizes: list[int] = []
    for place in range(count):
        earlier = sorted(pair for pair in near.get(place, ()) if pair[1] < place)
        found = Counter(labels[other] for _, other in earlier)
        # The label of the nearest one, of those whose members all match.
        whole = (labels[other] for _, other in earlier if found[labels[other]] == sizes[labels[other]])
        label = next(whole, len(sizes))
        if label == len(sizes):
            sizes.append(0)
        sizes[label] += 1
        labels.append(label)
    return labels


def _lookalikes(
    listed: Sequence[str | None], near: Mapping[int, Sequence[tuple[float, int]]]
) -> list[tuple[str, str]]:
    pairs = set()
    for place, found in near.items():
        one = listed[place]
        others = (listed[other] for _, other in found)
        pairs |= {(one, other) for other in others if one is not None and other is not None and one < other}
    return sorted(pairs)


def _main_person(people: Sequence[Person]) -> int | None:
    """Return the number of the person seen in most frames, the one a listed identity names."""
    if not people:
        return None
    return max(range(len(people)), key=lambda number: (people[number].num_frames, -number))


def new_name(source: Source, number: int) -> str:
    """Return a name for a person of a source; the parts of one video give different names."""
    part = source.row_key.removeprefix(source.key).removesuffix("-whole")
    return f"unnamed-{source.key[:12]}{part}-{number}"
