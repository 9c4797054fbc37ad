from dataclasses import replace

import numpy as np
import pytest

from preprocessing.faces.appearance import Appearance
from preprocessing.faces.miniatures import Miniatures
from preprocessing.faces.sightings import Sighting, Sightings, faces_inside, read_sightings, write_sightings
from preprocessing.media.boxes import Box
from tests.preprocessing.faces.synthetic_video import NO_MINIATURES


def random_sightings(seed):
    """Return sightings with 0 to 3 faces a frame, some with an embedding, a thumbnail or both."""
    random = np.random.default_rng(seed)

    def sighting():
        left, top, width, height = random.uniform(-20, 400, 4).tolist()
        return Sighting(
            box=Box(left, top, left + width, top + height),
            points=random.uniform(0, 640, (5, 2)) if random.random() < 0.7 else np.full((5, 2), np.nan),
            score=random.random(),
            appearance=Appearance(
                1000 * random.random(), 255 * random.random(), random.integers(0, 256, (16, 17), np.uint8)
            ),
            embedding=random.normal(size=128).astype(np.float32) if random.random() < 0.5 else None,
            thumbnail=random.bytes(int(random.integers(1, 50))) if random.random() < 0.5 else None,
        )

    frames = sorted(random.choice(np.arange(100, 400), 12, replace=False).tolist())
    faces = [[sighting() for _ in range(random.integers(4))] for _ in frames]
    times_s = [number / 24 for number in range(frames[0], frames[-1] + 1)]
    miniatures = Miniatures([100, 105], (4, 3), random.bytes(24))
    return Sightings(frames[0], times_s, (640, 360), frames, faces, frames[3:5], b"still", miniatures)


def plain(sightings):
    """Return the sightings as values that compare with ==, exactly."""

    def of_face(face):
        arrays = (face.points, face.appearance.luma, face.embedding)
        described = [
            None if array is None else (array.dtype, array.shape, array.tobytes()) for array in arrays
        ]
        looks = face.appearance
        return face.box, face.score, looks.sharpness, looks.brightness, face.thumbnail, described

    return replace(sightings, faces=[]), [[of_face(face) for face in faces] for faces in sightings.faces]


@pytest.mark.parametrize("seed", range(5))
def test_sightings_survive_their_file_exactly(tmp_path, seed):
    sightings = random_sightings(seed)
    write_sightings(tmp_path / "s.npz", "mark", sightings)
    assert plain(read_sightings(tmp_path / "s.npz", "mark")) == plain(sightings)


def test_a_source_without_faces_survives_its_file(tmp_path):
    times_s = [number / 25 for number in range(11)]
    empty = Sightings(0, times_s, (64, 48), [0, 10], [[], []], [], b"", NO_MINIATURES)
    write_sightings(tmp_path / "s.npz", "mark", empty)
    assert read_sightings(tmp_path / "s.npz", "mark") == empty


def test_equal_sightings_give_equal_bytes(tmp_path):
    for name in ("one", "other"):
        write_sightings(tmp_path / f"{name}.npz", "mark", random_sightings(0))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_a_missing_file_or_another_fingerprint_gives_none(tmp_path):
    write_sightings(tmp_path / "s.npz", "mark", random_sightings(0))
    assert read_sightings(tmp_path / "s.npz", "other") is None
    assert read_sightings(tmp_path / "nothing.npz", "mark") is None


@pytest.mark.parametrize("seed", range(5))
def test_just_the_faces_whose_centre_is_in_the_box_are_left_and_all_frames(seed):
    sightings, box = random_sightings(seed), Box(100, 50, 450, 400)
    inside = faces_inside(sightings, box)
    assert replace(inside, faces=[]) == replace(sightings, faces=[])
    for before, after in zip(sightings.faces, inside.faces, strict=True):
        centres = [
            ((face.box.left + face.box.right) / 2, (face.box.top + face.box.bottom) / 2) for face in before
        ]
        wanted = [100 <= x < 450 and 50 <= y < 400 for x, y in centres]
        assert [any(face is kept for kept in after) for face in before] == wanted
        assert len(after) == sum(wanted)
    assert 0 < sum(map(len, inside.faces)) < sum(map(len, sightings.faces))
