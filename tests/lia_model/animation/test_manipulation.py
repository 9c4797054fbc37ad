from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.framing import FaceCropper, NoFaceError
from lia_model.animation.manipulation import (
    ManipulationRequest,
    contact_sheet,
    even_deltas,
    manipulate_file,
    num_decimals,
    walk_along,
)
from lia_model.animator import Animator
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_reader import decode, probe


@pytest.fixture
def animator(generator):
    return Animator(generator, precision="fp32")


@pytest.fixture
def portrait(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "portrait.png")
    return tmp_path / "portrait.png"


def test_deltas_are_evenly_spaced_and_symmetric():
    np.testing.assert_allclose(even_deltas(3, 7), [-3, -2, -1, 0, 1, 2, 3])


@pytest.mark.parametrize("reach", [0, -1, float("nan"), float("inf")])
def test_a_range_that_is_not_positive_and_finite_is_refused(reach):
    with pytest.raises(ValueError, match="it must be finite and above 0"):
        even_deltas(reach, 16)


@pytest.mark.parametrize("num_frames", [1, 0, 257])
def test_too_few_or_too_many_frames_are_refused(num_frames):
    with pytest.raises(ValueError, match=f"got {num_frames} frames; allowed are 2 to 256"):
        even_deltas(3, num_frames)


def test_a_walk_changes_only_its_direction():
    walk = walk_along(np.array([1, 2, 3], np.float32), 1, even_deltas(1, 3))
    np.testing.assert_array_equal(walk, [[1, 1, 3], [1, 2, 3], [1, 3, 3]])


def test_every_direction_gets_a_strip_and_a_video_that_match_the_formula(animator, portrait, tmp_path):
    """z = z_source + D (a_source + delta e_i)."""
    seen = []
    request = ManipulationRequest(portrait, tmp_path / "out", reach=3, num_frames=5, batch_size=2)
    assert manipulate_file(animator, None, request, lambda *at: seen.append(at)) == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    directions = {f"direction_{number:02d}.{kind}" for number in range(1, 5) for kind in ("png", "mp4")}
    assert names == directions | {"contact_sheet.png"}
    picture = np.asarray(Image.open(portrait))
    own = next(animator.motion_weights([picture]))
    for direction in range(4):
        strip = np.asarray(Image.open(tmp_path / f"out/direction_{direction + 1:02d}.png")).astype(int)
        assert strip.shape == (32, 5 * 32, 3)
        for column, delta in enumerate((-3, -1.5, 0, 1.5, 3)):
            weights = own.copy()
            weights[direction] += delta
            wanted = next(animator.synthesize(picture, [weights]))
            assert np.abs(strip[:, 32 * column : 32 * (column + 1)] - wanted).max() <= 1
        info = probe(tmp_path / f"out/direction_{direction + 1:02d}.mp4")
        assert (info.num_frames, info.fps, info.codec) == (5, Fraction(8), "h264")
    assert len(list(decode(tmp_path / "out/direction_01.mp4"))) == 5


def test_the_contact_sheet_has_a_row_for_each_direction_and_a_labelled_column_for_each_delta():
    rows = [[np.full((40, 40, 3), 60 * row + 10 * column, np.uint8) for column in range(4)] for row in (1, 2)]
    sheet = contact_sheet(rows, even_deltas(3, 4))
    assert sheet.shape == (24 + 2 * 42, 48 + 4 * 42, 3)
    for row in range(2):
        for column in range(4):
            assert sheet[24 + 42 * row + 20, 48 + 42 * column + 20, 0] == 60 * (row + 1) + 10 * column
        assert sheet[24 + 42 * row : 24 + 42 * row + 40, :48].min() < 100
    for column in range(4):
        assert sheet[:24, 48 + 42 * column : 48 + 42 * column + 40].min() < 100


@pytest.mark.parametrize(
    ("reach", "num_frames", "decimals"),
    [(3, 7, 0), (3, 16, 1), (3, 9, 2), (3, 15, 2), (0.3, 4, 1), (0.03, 5, 3)],
)
def test_labels_have_as_many_decimals_as_the_deltas_need(reach, num_frames, decimals):
    assert num_decimals(even_deltas(reach, num_frames)) == decimals


def test_many_frames_leave_the_contact_sheet_readable(animator, portrait, tmp_path):
    manipulate_file(animator, None, ManipulationRequest(portrait, tmp_path / "out", 3, 40))
    with Image.open(tmp_path / "out/contact_sheet.png") as sheet:
        assert sheet.size == (48 + 16 * 34, 24 + 4 * 34)
    with Image.open(tmp_path / "out/direction_02.png") as strip:
        assert strip.size == (40 * 32, 32)


def test_an_error_names_the_portrait_without_a_face(animator, portrait, models, tmp_path):
    cropper = FaceCropper(FaceDetector(models / "scrfd", min_score=0.5, pad_px=64), 5, 1.2)
    with pytest.raises(NoFaceError, match=r"source file portrait\.png"):
        manipulate_file(animator, cropper, ManipulationRequest(portrait, tmp_path / "out", 3, 4))
    assert not (tmp_path / "out").exists()
