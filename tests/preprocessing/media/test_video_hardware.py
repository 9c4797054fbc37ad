from fractions import Fraction

import pytest

from preprocessing.media.video_hardware import NoVideoHardwareError
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter


def test_a_machine_without_an_nvidia_gpu_says_so(tmp_path, samples, monkeypatch):
    # The driver shows none, also where there is one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(
        NoVideoHardwareError, match="hardware decoding of video was asked for, but no NVIDIA GPU"
    ):
        next(decode(samples / "single_face.mp4", hardware=True))
    with (
        pytest.raises(NoVideoHardwareError, match="hardware encoding of video was asked for"),
        VideoWriter(tmp_path / "out.mp4", Fraction(25), (64, 64), hardware=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
