import cv2
import numpy as np
import pytest

from preprocessing.faces.detector import FaceDetector, models_sha256, require_models
from preprocessing.media.video_reader import decode


@pytest.fixture(scope="module")
def detector(models):
    return FaceDetector(models / "scrfd", min_score=0.5, pad_px=64)


@pytest.fixture(scope="module")
def image(samples):
    return next(decode(samples / "single_face.mp4")).image


def test_the_face_is_found_with_its_points_inside_its_box(detector, image):
    (face,) = detector.detect(image)
    assert face.score > 0.5
    assert 130 < face.box.width < 180
    assert face.points.shape == (5, 2)
    assert all(face.box.contains(x, y) for x, y in face.points)


def test_left_eye_is_left_and_mouth_is_below(detector, image):
    (face,) = detector.detect(image)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("side_px", [128, 256, 1024, 2000])
@pytest.mark.parametrize("pad_px", [0, 64])
def test_a_face_that_fills_the_image_is_found_at_any_size(models, detector, image, side_px, pad_px):
    (face,) = detector.detect(image)
    left, top, right, bottom = (round(side) for side in face.box)
    size = (side_px, round(side_px * (bottom - top) / (right - left)))
    filling = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_CUBIC)
    (found,) = FaceDetector(models / "scrfd", 0.5, pad_px).detect(filling)
    assert found.box.width == pytest.approx(side_px, rel=0.1)
    assert found.box.centre == pytest.approx((size[0] / 2, size[1] / 2), rel=0.1)


@pytest.mark.parametrize("scale", [0.5, 2, 4])
def test_boxes_are_in_proportion_to_the_image(detector, image, scale):
    (face,) = detector.detect(image)
    (found,) = detector.detect(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    assert [side / scale for side in found.box] == pytest.approx(list(face.box), abs=3)


def test_colour_order_matters_little_and_position_much(detector, image):
    (face,) = detector.detect(image)
    (moved,) = detector.detect(np.roll(image, 40, axis=1))
    assert moved.box.left - face.box.left == pytest.approx(40, abs=4)


def test_an_empty_picture_has_no_face(detector):
    assert detector.detect(np.zeros((90, 160, 3), np.uint8)) == []


def test_missing_models_are_named_with_the_remedy(tmp_path):
    for call in (lambda: require_models(tmp_path / "scrfd"), lambda: FaceDetector(tmp_path, 0.5, 64)):
        with pytest.raises(ValueError, match=r"lia fetch models"):
            call()


def test_hash_of_the_models_follows_their_bytes(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"1")
    first = models_sha256(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"2")
    assert models_sha256(tmp_path) != first
