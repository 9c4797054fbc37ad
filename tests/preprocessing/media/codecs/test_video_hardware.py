"""Decoding and encoding on a GPU; without one, what is said and done instead."""

import logging
from fractions import Fraction

import numpy as np
import pytest
from av.codec import Codec
from av.codec.hwaccel import HWAccel

from preprocessing.media import video_reader
from preprocessing.media.codecs import video_hardware
from preprocessing.media.codecs.video_hardware import NoVideoHardwareError, gpu_decoder, takes_gpu_encoder
from preprocessing.media.containers import packets
from preprocessing.media.containers.packets import open_input
from preprocessing.media.video_reader import decode, decodes_on_gpu
from preprocessing.media.video_writer import VideoWriter
from tests.gpu import needs_gpu
from tests.preprocessing.ffmpeg import make_pattern


@pytest.fixture
def no_gpu(monkeypatch):
    # The driver shows none, also where there is one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(video_hardware, "_warned", set())


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return make_pattern(tmp_path_factory.mktemp("h264") / "video.mp4")


@pytest.fixture(scope="module")
def unknown_to_gpus(tmp_path_factory):
    """A video in a codec that no NVIDIA decoder knows."""
    return make_pattern(tmp_path_factory.mktemp("prores") / "video.mov", "-c:v", "prores_ks")


def test_a_machine_without_an_nvidia_gpu_says_so(tmp_path, usual, no_gpu):
    with pytest.raises(
        NoVideoHardwareError, match="hardware decoding of video was asked for, but no NVIDIA GPU"
    ):
        next(decode(usual, hardware=True))
    with (
        pytest.raises(NoVideoHardwareError, match="hardware encoding of video was asked for"),
        VideoWriter(tmp_path / "out.mp4", Fraction(25), (64, 64), hardware=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_is_needed_is_missed_at_once(no_gpu):
    with pytest.raises(NoVideoHardwareError, match=r"encoding .* use the CPU"):
        takes_gpu_encoder("gpu")


def test_without_an_encoder_auto_takes_the_cpu_and_says_so_once(no_gpu, caplog):
    assert not takes_gpu_encoder("auto")
    assert not takes_gpu_encoder("auto")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the CPU does the encoding of video: no NVIDIA GPU here")


def test_the_cpu_as_encoder_is_taken_without_a_look_or_a_word(no_gpu, caplog, monkeypatch):
    monkeypatch.setattr(video_hardware, "require_gpu_encoder", lambda: pytest.fail("it looked for a GPU"))
    assert not takes_gpu_encoder("cpu")
    assert not caplog.records


def test_a_video_is_decoded_on_the_cpu_where_no_gpu_decodes_with_one_warning(
    usual, unknown_to_gpus, no_gpu, caplog
):
    assert not decodes_on_gpu(usual)
    assert not decodes_on_gpu(usual)
    assert len(caplog.records) == 1
    assert "the CPU does the decoding of video" in caplog.text
    # Another reason is told too.
    assert not decodes_on_gpu(unknown_to_gpus)
    assert len(caplog.records) == 2
    assert "its decoder does not know prores" in caplog.text


def test_a_codec_without_hardware_is_named_before_a_gpu_is_looked_for(no_gpu):
    with pytest.raises(NoVideoHardwareError, match="its decoder does not know png"):
        gpu_decoder(Codec("png", "r"))


def test_a_file_of_which_a_gpu_decodes_nothing_is_refused_in_our_words(unknown_to_gpus, monkeypatch):
    # As on a machine with a GPU, whose decoder is only tried with H.264.
    accelerator = HWAccel(device_type="cuda", allow_software_fallback=False)
    for module in (packets, video_reader):
        monkeypatch.setattr(module, "gpu_decoder", lambda codec=None: accelerator)
    with pytest.raises(NoVideoHardwareError, match="no stream is compatible"):
        open_input(unknown_to_gpus, hardware=True)
    assert not decodes_on_gpu(unknown_to_gpus)


@needs_gpu
def test_a_gpu_decodes_the_same_pictures_at_the_same_times(usual):
    if not decodes_on_gpu(usual):
        pytest.skip("this GPU has no decoder, or its driver lacks the library")
    for one, other in zip(decode(usual), decode(usual, hardware=True), strict=True):
        assert one.pts_s == other.pts_s
        assert np.abs(one.image.astype(int) - other.image).mean() < 3


@needs_gpu
def test_a_codec_that_a_gpu_does_not_know_is_decoded_on_the_cpu(unknown_to_gpus):
    assert not decodes_on_gpu(unknown_to_gpus)


@needs_gpu
def test_a_gpu_with_an_encoder_writes_what_is_read_again(tmp_path):
    if not takes_gpu_encoder("auto"):
        pytest.skip("this GPU has no encoder, like all of data centres")
    image = np.full((64, 96, 3), 90, np.uint8)
    with VideoWriter(tmp_path / "out.mp4", Fraction(25), (96, 64), hardware=True) as video:
        for _ in range(5):
            video.write(image)
    frames = list(decode(tmp_path / "out.mp4"))
    assert len(frames) == 5
    assert np.abs(frames[0].image.astype(int) - image).mean() < 5
