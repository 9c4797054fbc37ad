import numpy as np
import pytest

from lia_model.evaluation import face_distances


@pytest.fixture
def face():
    return np.random.default_rng(1).normal(size=(68, 2)) * 20 + 100


def test_landmark_distance_of_a_shifted_face_is_the_shift(face):
    assert face_distances.landmark_distance(face, face) == 0
    assert face_distances.landmark_distance(face + np.array([3, 4]), face) == pytest.approx(5)


def test_identities_are_compared_by_distance_and_by_angle():
    a, b = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    assert face_distances.identity_distance(a, b) == 5
    assert face_distances.identity_similarity(a, b) == 0
    assert face_distances.identity_similarity(a, 7 * a) == pytest.approx(1)
    assert face_distances.identity_similarity(a, -a) == pytest.approx(-1)


def test_a_faces_shape_ignores_place_size_and_turn(face):
    angle = 0.4
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(
        face_distances.face_shape(3 * face @ turn + (5, -9)), face_distances.face_shape(face), atol=1e-12
    )
    corners = face_distances.face_shape(face)[list(face_distances.OUTER_EYE_CORNERS)]
    np.testing.assert_allclose(corners[1] - corners[0], [1, 0], atol=1e-12)


def test_motion_distance_is_zero_for_the_same_motion_and_the_whole_motion_for_none(face):
    # The same change of shape on a face of another size elsewhere in the picture.
    moved = face.copy()
    moved[48:68, 1] += 6
    assert face_distances.motion_distance((2 * face + 50, 2 * moved + 50), (face, moved)) == pytest.approx(0)
    still = face_distances.motion_distance((face, face), (face, moved))
    half = face + (moved - face) / 2
    assert 0 < face_distances.motion_distance((face, half), (face, moved)) < still
