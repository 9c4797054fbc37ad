"""Persons: clusters of faces by the distance of their embeddings. Pure.

N faces or tracks, E numbers per embedding.
"""

from array import array
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preprocessing.faces.tracks import Track

_BLOCK = 1024


class Person(BaseModel):
    """One cluster of faces within a source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_frames: int
    """Number of analysed frames that show the person."""
    embedding: Sequence[float]
    """Mean embedding of the person's tracks."""

    def compact(self) -> "Person":
        """Return the same with an embedding that takes 4 bytes a number, since a run holds everybody's."""
        return self.model_copy(update={"embedding": array("f", self.embedding)})


def number_people(tracks: Sequence[Track], max_distance: float) -> tuple[list[int | None], list[Person]]:
    """Cluster tracks into persons.

    Args:
        tracks: of one source.
        max_distance: greatest distance of two embeddings of one person.

    Returns:
        Each track's person number, None for a track without embeddings; and the persons by number.
    """
    embedded = [number for number, track in enumerate(tracks) if track.embeddings]
    means = [np.mean(tracks[number].embeddings, axis=0, dtype=np.float32) for number in embedded]
    labels = cluster_embeddings(np.array(means, dtype=np.float32), max_distance)
    numbers: list[int | None] = [None] * len(tracks)
    for number, label in zip(embedded, labels.tolist(), strict=True):
        numbers[number] = label
    people = []
    for label in range(int(labels.max(initial=-1)) + 1):
        own = [place for place, found in enumerate(labels) if found == label]
        num_frames = sum(len(tracks[embedded[place]].frames) for place in own)
        mean = np.mean([means[place] for place in own], axis=0)
        people.append(Person(num_frames=num_frames, embedding=[round(float(value), 6) for value in mean]))
    return numbers, people


def cluster_embeddings(embeddings: NDArray[np.float32], max_distance: float) -> NDArray[np.int64]:
    """Return a person number, counted from 0, for each of the [N, E] embeddings: [N].

    Complete linkage within each connected component of the graph of near neighbours. Components alone would
    merge two persons as soon as one blurred face lies between them. Memory grows with the number of near
    pairs, not with N².
    """
    if len(embeddings) == 0:
        return np.zeros(0, np.int64)
    _, components = connected_components(_near_pairs(embeddings, max_distance), directed=False)
    people = np.zeros(len(embeddings), np.int64)
    num_people = 0
    order = np.argsort(components, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(components[order])) + 1):
        if len(members) == 1:
            labels = np.ones(1, np.int64)
        else:
            tree = linkage(embeddings[members], method="complete")
            labels = fcluster(tree, max_distance, criterion="distance").astype(np.int64)
        people[members] = num_people + labels - 1
        num_people += int(labels.max())
    return people


def near_embeddings(
    embeddings: NDArray[np.float32], max_distance: float
) -> dict[int, list[tuple[float, int]]]:
    """Return for each place in [N, E] embeddings that has any: distance and place of the others near it."""
    pairs = _near_pairs(embeddings, max_distance)
    found: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for row, column in zip(pairs.row.tolist(), pairs.col.tolist(), strict=True):
        if row != column:
            found[row].append((float(np.linalg.norm(embeddings[row] - embeddings[column])), column))
    return dict(found)


def _near_pairs(embeddings: NDArray[np.float32], max_distance: float) -> coo_array:
    squares = (embeddings**2).sum(axis=1)
    rows, columns = [], []
    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK]
        distances = squares[start : start + _BLOCK, None] + squares[None] - 2 * block @ embeddings.T
        row, column = np.nonzero(distances <= max_distance**2)
        rows.append(row + start)
        columns.append(column)
    row, column = np.concatenate(rows), np.concatenate(columns)
    size = len(embeddings)
    return coo_array((np.ones(len(row), np.bool_), (row, column)), shape=(size, size))
