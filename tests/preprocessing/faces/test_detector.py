from itertools import product

import cv2
import numpy as np
import onnx
import pytest
from insightface.model_zoo.scrfd import SCRFD
from onnx import numpy_helper

from preprocessing.faces.detector import (
    INPUT_PX,
    STRIDE_PX,
    FaceDetector,
    models_sha256,
    plan_look,
    require_models,
)
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


@pytest.mark.parametrize("pad", [0, 0.1, 0.5])
@pytest.mark.parametrize("is_square", [True, False])
@pytest.mark.parametrize(
    "size", [(640, 360), (1920, 1080), (360, 640), (500, 500), (31, 4000), (1, 1), (1279, 717)]
)
def test_the_whole_picture_with_its_border_lies_on_the_input(size, pad, is_square):
    look = plan_look(*size, pad, is_square)
    assert all(side % STRIDE_PX == 0 for side in look.input_size)
    assert max(look.input_size) == INPUT_PX
    assert look.input_size == (INPUT_PX, INPUT_PX) or not is_square
    for side, whole in zip(look.size, look.input_size, strict=True):
        assert look.offset + side <= whole
        assert is_square or whole <= INPUT_PX
        assert is_square or whole - side - 2 * look.offset < STRIDE_PX
    assert look.size[0] / size[0] == pytest.approx(look.size[1] / size[1], abs=1 / min(size))


def test_insightface_does_not_resize_what_has_the_size_of_the_input(models):
    class Seen(Exception):
        pass

    sides = range(STRIDE_PX, INPUT_PX + 1, STRIDE_PX)
    detector = SCRFD(str(models / "scrfd" / "scrfd.onnx"))
    random = np.random.default_rng(0)
    for width, height in {*product(sides, [INPUT_PX]), *product([INPUT_PX], sides)}:
        image = random.integers(0, 256, (height, width, 3), np.uint8)

        def look(shown, threshold, image=image):
            assert np.array_equal(shown, image)
            raise Seen

        detector.forward = look
        with pytest.raises(Seen):
            detector._detect_candidates(image, (width, height), 0.5)


@pytest.fixture(scope="module")
def fixed_detector(models, tmp_path_factory):
    """A detector whose graph holds the number of positions, so that its input stays a square."""
    model = onnx.load(models / "scrfd" / "scrfd.onnx")
    shape_of = {one.name: one for one in model.graph.initializer}
    reshapes = [one for one in model.graph.node if one.op_type == "Reshape"]
    for number, node in enumerate(reshapes):
        shape = numpy_helper.to_array(shape_of[node.input[1]]).copy()
        shape[1] = (12800, 3200, 800)[number // 3]
        name = f"shape_{number}"
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = name
    folder = tmp_path_factory.mktemp("fixed")
    onnx.save(model, folder / "scrfd.onnx")
    return FaceDetector(folder, 0.5, 64)


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (1080, 1920), (480, 480)])
def test_the_aspect_of_the_input_moves_a_box_by_less_than_a_hundredth(detector, fixed_detector, image, shape):
    height, width = shape
    side = min(shape)
    shown = np.zeros((height, width, 3), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    face_picture = cv2.resize(image[:, 140:500], (side, side), interpolation=cv2.INTER_AREA)
    shown[top : top + side, left : left + side] = face_picture
    (face,), (same) = detector.detect(shown), fixed_detector.detect(shown)
    assert len(same) == 1
    assert list(same[0].box) == pytest.approx(list(face.box), abs=0.01 * face.box.width)
    assert same[0].points == pytest.approx(face.points, abs=0.01 * face.box.width)
    assert same[0].score == pytest.approx(face.score, abs=0.01)


def test_a_provider_that_is_not_installed_is_named_with_those_that_are(models):
    with pytest.raises(
        ValueError, match=r"got detect.providers CUDAExecutionProvider; .* has .*CPUExecution"
    ):
        FaceDetector(models / "scrfd", 0.5, 64, ["CUDAExecutionProvider", "CPUExecutionProvider"])
