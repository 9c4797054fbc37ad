import numpy as np
import pytest

from lia_model.evaluation.faces import FaceMeter
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.boxes import square_around
from preprocessing.media.images import cut
from preprocessing.media.video_reader import decode
from tests.lia_model.evaluation_settings import evaluation_settings

SIZE_PX = 64


@pytest.fixture(scope="module")
def meter(models):
    return FaceMeter(evaluation_settings(models).faces)


@pytest.fixture(scope="module")
def crops(models, samples):
    """Frames 0, 15 and 30 of two people, cropped as shards are."""
    detector = FaceDetector(models / "scrfd", 0.5, 64)

    def read(name):
        chosen = [frame.image for number, frame in enumerate(decode(samples / name)) if number in (0, 15, 30)]
        square = square_around(detector.detect(chosen[0])[0].box, 1.4)
        return [cut(image, square, SIZE_PX) for image in chosen]

    return read("single_face.mp4"), read("WolfgangLanger_Pexels.mp4")


def shifted(images, pixels):
    return [np.roll(image, pixels, axis=1) for image in images]


def test_the_truth_itself_is_at_no_distance(meter, crops):
    man, _ = crops
    assert meter.compare_with_truth(man, man) == {"akd": 0, "mkr": 0, "aed": 0}


def test_akd_of_a_shifted_face_is_the_shift_in_pixels_of_the_image(meter, crops):
    man, _ = crops
    values = meter.compare_with_truth(shifted(man, 3), man)
    assert values["akd"] == pytest.approx(3, abs=0.4)
    assert values["aed"] < 0.3


def test_another_person_is_farther_and_less_similar(meter, crops):
    man, woman = crops
    same = meter.compare_with_truth(man[1:], man[:1] * 2)
    other = meter.compare_with_truth(woman[1:], man[:1] * 2)
    assert same["aed"] < 0.6 < other["aed"]
    assert (
        meter.compare_with_source(man, woman, man[0])["csim"]
        > meter.compare_with_source(woman, man, man[0])["csim"]
    )


def test_results_without_a_face_are_missed_and_have_no_distance(meter, crops):
    man, _ = crops
    blank = np.full_like(man[0], 128)
    assert meter.compare_with_truth([blank, *man[1:]], man)["mkr"] == pytest.approx(1 / 3)
    assert meter.compare_with_truth([blank] * 3, man) == {"akd": None, "mkr": 1, "aed": None}
    # A truth without a face cannot be missed.
    assert meter.compare_with_truth(man, [blank] * 3) == {"akd": None, "mkr": None, "aed": None}
    assert meter.compare_with_source([blank] * 3, man, man[0]) == {"csim": None, "motion": None, "mkr": 1}


def test_copying_keeps_the_person_and_misses_the_motion(meter, crops):
    man, woman = crops
    copied = meter.compare_with_source([man[0]] * 3, woman, man[0])
    followed = meter.compare_with_source(woman, woman, man[0])
    assert copied["csim"] == pytest.approx(1)
    assert followed["motion"] == 0 < copied["motion"]
    assert followed["csim"] < copied["csim"]
