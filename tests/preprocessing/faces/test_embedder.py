import sys

import cv2
import numpy as np
import pytest
from skimage import data

from preprocessing.faces.detector import FaceDetector
from preprocessing.faces.embedder import (
    DLIB_SAME_PERSON_DISTANCE,
    EMBEDDING_FILE,
    LANDMARK_FILE,
    FaceReader,
    MissingModelsError,
    dlib_square,
)
from preprocessing.media.boxes import Box
from preprocessing.media.video_reader import decode

BROW, NOSE_TIP, LEFT_EYE, RIGHT_EYE, CHIN = 19, 30, slice(36, 42), slice(42, 48), 8


@pytest.fixture(scope="module")
def detector(models):
    return FaceDetector(models / "scrfd", 0.5, 64)


@pytest.fixture(scope="module")
def reader(models):
    return FaceReader(models / "dlib")


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()


def test_landmarks_agree_with_the_detectors_five_points(portrait, detector, reader):
    face = detector.detect(portrait)[0]
    points = reader.read(portrait, face.box).landmarks
    assert points.shape == (68, 2)
    eye_px = np.linalg.norm(face.points[0] - face.points[1])
    for found, wanted in ((LEFT_EYE, 0), (RIGHT_EYE, 1)):
        assert np.linalg.norm(points[found].mean(axis=0) - face.points[wanted]) < 0.15 * eye_px
    assert points[BROW, 1] < points[NOSE_TIP, 1] < points[CHIN, 1]


def test_landmarks_move_with_the_face(portrait, detector, reader):
    box = detector.detect(portrait)[0].box
    before = reader.read(portrait, box).landmarks
    moved = Box(box.left + 12, box.top + 7, box.right + 12, box.bottom + 7)
    after = reader.read(np.roll(portrait, (7, 12), axis=(0, 1)), moved).landmarks
    assert np.abs(after - before - (12, 7)).mean() < 0.5


def test_one_person_is_nearer_than_two(portrait, samples, detector, reader):
    man = [
        frame.image for number, frame in enumerate(decode(samples / "single_face.mp4")) if number in (0, 40)
    ]
    early, late, woman = (
        reader.read(image, detector.detect(image)[0].box).embedding for image in (*man, portrait)
    )
    assert np.linalg.norm(early - late) < DLIB_SAME_PERSON_DISTANCE < np.linalg.norm(early - woman)


def test_a_small_face_is_read_better_enlarged(portrait, detector, reader):
    box = detector.detect(portrait)[0].box
    left, top = int(box.left) - 20, int(box.top) - 20
    crop = portrait[top : top + 160, left : left + 160]
    small = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)

    def landmarks(image):
        return reader.read(image, detector.detect(image)[0].box).landmarks / len(image)

    wanted = landmarks(cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC))
    errors = [np.linalg.norm(landmarks(image) - wanted, axis=1).mean() * 64 for image in (small, enlarged)]
    assert errors[1] < 0.5 < errors[0]


def test_dlibs_square_reaches_from_the_brows_to_the_chin():
    square = dlib_square(Box(100, 100, 180, 210))
    assert square.width == pytest.approx(square.height)
    assert square.centre[0] == 140
    assert square.top > 100


def test_missing_weights_and_a_missing_library_say_what_to_do(tmp_path, models, monkeypatch):
    with pytest.raises(MissingModelsError, match=f"no {LANDMARK_FILE} in .*run `lia fetch models`"):
        FaceReader(tmp_path)
    (tmp_path / LANDMARK_FILE).write_bytes(b"")
    with pytest.raises(MissingModelsError, match=f"no {EMBEDDING_FILE}"):
        FaceReader(tmp_path)
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingModelsError, match="pip install dlib-bin"):
        FaceReader(models / "dlib")
