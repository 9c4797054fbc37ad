import numpy as np
import pytest

from preprocessing.faces.appearance import Appearance
from preprocessing.faces.people import cluster_embeddings, number_people
from preprocessing.faces.sightings import Sighting
from preprocessing.faces.tracks import Track
from preprocessing.media.boxes import Box

LIMIT = 0.6


def around(centre, count, spread=0.1, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, 8))
    return (np.array(centre) + spread * noise / np.linalg.norm(noise, axis=1)[:, None]).astype(np.float32)


def sighting(embedding):
    looks = Appearance(1.0, 1.0, np.zeros((16, 17), np.uint8))
    return Sighting(Box(0, 0, 1, 1), np.zeros((5, 2)), 1.0, looks, embedding)


def test_people_are_told_apart_whatever_the_order():
    one, two = around([0] * 8, 20), around([1] + [0] * 7, 20, seed=1)
    faces = np.concatenate([one, two])
    order = np.random.default_rng(2).permutation(40)
    labels = cluster_embeddings(faces[order], LIMIT)
    assert set(labels.tolist()) == {0, 1}
    assert len({(label, place < 20) for label, place in zip(labels.tolist(), order, strict=True)}) == 2


def test_one_blurred_face_between_two_people_does_not_join_them():
    one, two = around([0] * 8, 10, 0.02), around([1] + [0] * 7, 10, 0.02, seed=1)
    between = np.array([[0.5] + [0] * 7], np.float32)
    labels = cluster_embeddings(np.concatenate([one, two, between]), LIMIT)
    assert labels[0] != labels[10]


def test_nobody_and_one_are_no_special_cases():
    assert cluster_embeddings(np.zeros((0, 8), np.float32), LIMIT).tolist() == []
    assert cluster_embeddings(np.zeros((1, 8), np.float32), LIMIT).tolist() == [0]


def test_tracks_without_embeddings_belong_to_nobody():
    tracks = [
        Track([0, 10], [sighting(around([0] * 8, 1)[0]), sighting(None)]),
        Track([20], [sighting(None)]),
        Track([30], [sighting(around([0] * 8, 1, seed=3)[0])]),
        Track([40], [sighting(around([1] + [0] * 7, 1)[0])]),
    ]
    numbers, people = number_people(tracks, LIMIT)
    assert numbers[1] is None
    assert numbers[0] == numbers[2] != numbers[3]
    assert [person.num_frames for person in people] == ([3, 1] if numbers[0] == 0 else [1, 3])


@pytest.mark.parametrize("count", [3000])
def test_thousands_are_clustered_without_all_pairs_in_memory(count):
    centres = np.random.default_rng(0).normal(size=(count // 3, 8)) * 4
    faces = np.concatenate([around(centre, 3, 0.05, seed) for seed, centre in enumerate(centres)])
    labels = cluster_embeddings(faces, LIMIT).reshape(-1, 3)
    assert (labels == labels[:, :1]).all()
