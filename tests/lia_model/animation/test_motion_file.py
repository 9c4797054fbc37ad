from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.framing import FacePosition, Framing
from lia_model.animation.motion_file import Motion, is_motion_file, read_motion, write_motion
from preprocessing.media.boxes import Box

MODEL = "a" * 64


@pytest.fixture
def motion():
    weights = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    positions = (FacePosition(0, Box(10.125, 20, 30, 40)), FacePosition(5, Box(11, 21, 31, 41)))
    return Motion(weights, Fraction(30000, 1001), False, MODEL, Framing(Box(-3, 4, 45, 52), positions))


@pytest.fixture
def path(tmp_path, motion):
    write_motion(tmp_path / "folder" / "motion", motion)
    return tmp_path / "folder" / "motion"


def test_a_motion_survives_writing_and_reading(path, motion):
    read = read_motion(path, MODEL)
    np.testing.assert_array_equal(read.weights, motion.weights)
    assert replace(read, weights=motion.weights) == motion
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("is_still", [True, False])
def test_an_uncropped_clip_has_no_framing(path, motion, is_still):
    write_motion(path, replace(motion, framing=None, is_still=is_still))
    read = read_motion(path, MODEL)
    assert read.framing is None
    assert read.is_still == is_still


def test_the_file_holds_plain_tensors_and_strings(path):
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == {"weights", "face_frames", "face_boxes"}
        assert file.get_tensor("weights").dtype == np.float32
        assert file.metadata()["fps"] == "30000/1001"
        assert file.metadata()["model_sha256"] == MODEL
        assert file.metadata()["crop_rule"] == "fomm_square"
        assert file.metadata()["format_version"] == "1"


def test_a_motion_file_is_recognised_by_its_first_bytes(path, tmp_path):
    assert is_motion_file(path)
    for content in (b"", b"{", b"\x89PNG\r\n\x1a\n{", b"\0\0\0\x20ftyp{"):
        (tmp_path / "other.safetensors").write_bytes(content)
        assert not is_motion_file(tmp_path / "other.safetensors")
    assert not is_motion_file(tmp_path / "nowhere")


def test_the_motion_of_another_model_is_refused(path):
    with pytest.raises(UnreadableMediaError, match="motion of another model"):
        read_motion(path, "b" * 64)


@pytest.mark.parametrize("num_bytes", [9, 100, 600, -1])
def test_a_truncated_file_is_refused(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert is_motion_file(path)
    with pytest.raises(UnreadableMediaError, match="damaged safetensors file"):
        read_motion(path, MODEL)


def test_a_safetensors_file_without_motion_is_refused(tmp_path):
    save_file({"weights": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UnreadableMediaError, match="without motion weights"):
        read_motion(tmp_path / "model.safetensors", MODEL)


@pytest.mark.parametrize(
    ("tensors", "metadata", "reason"),
    [
        ({"weights": np.zeros((0, 4), np.float32)}, {}, "weights is missing or invalid"),
        ({"weights": np.full((2, 4), np.nan, np.float32)}, {}, "weights is missing or invalid"),
        ({"weights": np.zeros((2, 4), np.float64)}, {}, "weights is missing or invalid"),
        ({"other": np.zeros((2, 4), np.float32)}, {}, "'weights' is missing or invalid"),
        ({"weights": np.zeros((2, 4), np.float32)}, {"fps": "1/0"}, "fps is missing or invalid"),
        ({"weights": np.zeros((2, 4), np.float32)}, {"fps": "0"}, "fps is missing or invalid"),
        ({"weights": np.zeros((2, 4), np.float32)}, {"format_version": "2"}, "format version 2"),
    ],
)
def test_an_error_names_the_invalid_content(tmp_path, tensors, metadata, reason):
    known = {
        "format": "open-lia motion template",
        "format_version": "1",
        "fps": "25",
        "is_still": "false",
        "model_sha256": MODEL,
        "crop_rule": "none",
    }
    (tmp_path / "m").write_bytes(save(tensors, known | metadata))
    with pytest.raises(UnreadableMediaError, match=reason):
        read_motion(tmp_path / "m", MODEL)
