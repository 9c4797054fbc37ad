import logging
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from lia_model.animation import (
    AnimationRequest,
    StoppedError,
    animate_file,
)
from lia_model.animator import Animator
from lia_model.framing import FaceCropper, NoFaceError
from lia_model.media import UnreadableMediaError
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from preprocessing.detect import FaceDetector
from preprocessing.video import VideoWriter, decode, probe

SIZE = 32
NTSC = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def animator():
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=SIZE)
    return Animator(build_generator(settings, seed=0), "cpu", "fp32")


@pytest.fixture(scope="module")
def cropper(models):
    return FaceCropper(FaceDetector(models / "scrfd", min_score=0.5, pad_px=64), 5, 1.2)


@pytest.fixture(scope="module")
def driving(tmp_path_factory):
    """Nine moving frames at 29.97 fps."""
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    with VideoWriter(path, NTSC, (48, 40)) as writer:
        for index in range(9):
            frame = np.zeros((40, 48, 3), dtype=np.uint8)
            frame[10:30, 5 + index : 25 + index] = 200
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def face_clip(samples, tmp_path_factory):
    """Seven frames of a real face, with a tone for sound."""
    folder = tmp_path_factory.mktemp("face")
    silent, path = folder / "silent.mp4", folder / "face.mp4"
    with VideoWriter(silent, Fraction(24), (640, 360)) as writer:
        for frame in islice(decode(samples / "WolfgangLanger_Pexels.mp4"), 7):
            writer.write(frame.image)
    with av.open(str(folder / "tone.wav"), "w") as tone:
        stream = tone.add_stream("pcm_s16le", rate=16000, layout="mono")
        wave = (8000 * np.sin(np.arange(16000) / 6)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.rate = 16000
        tone.mux(stream.encode(frame))
        tone.mux(stream.encode(None))
    with VideoWriter(path, Fraction(24), (640, 360), audio_from=folder / "tone.wav") as writer:
        for frame in decode(silent):
            writer.write(frame.image)
    return path


def test_the_result_has_the_driving_clips_frames_and_exact_rate(animator, portrait, driving, tmp_path):
    output = tmp_path / "out.mp4"
    seen = []
    result = animate_file(
        animator,
        None,
        AnimationRequest(portrait, driving, output, batch_size=4),
        progress=lambda *at: seen.append(at),
    )
    info = probe(output)
    assert (result.num_frames, result.fps) == (9, NTSC)
    assert (info.num_frames, info.fps, info.width_px, info.height_px) == (9, NTSC, SIZE, SIZE)
    assert seen == [(done, 9) for done in range(10)]


def test_faces_are_framed_and_sound_is_kept(animator, cropper, face_clip, tmp_path):
    output = tmp_path / "out.mp4"
    animate_file(animator, cropper, AnimationRequest(face_clip, face_clip, output, "absolute"))
    info = probe(output)
    assert (info.num_frames, info.fps, info.has_audio) == (7, 24, True)


def test_cropping_changes_what_the_model_sees(animator, cropper, face_clip, tmp_path):
    with_crop, without = tmp_path / "crop.mp4", tmp_path / "whole.mp4"
    animate_file(animator, cropper, AnimationRequest(face_clip, face_clip, with_crop))
    animate_file(animator, None, AnimationRequest(face_clip, face_clip, without))
    first, second = (next(decode(path)).image.astype(int) for path in (with_crop, without))
    assert np.abs(first - second).mean() > 1


@pytest.mark.parametrize("role", ["source", "driving"])
def test_a_missing_face_is_told_with_the_files_role_and_name(
    animator, cropper, portrait, face_clip, role, tmp_path
):
    files = {"source": face_clip, "driving": face_clip} | {role: portrait}
    output = tmp_path / "out.mp4"
    with pytest.raises(NoFaceError, match=f"{role} file portrait.png"):
        animate_file(animator, cropper, AnimationRequest(files["source"], files["driving"], output))
    assert list(tmp_path.iterdir()) == []


def test_a_still_drives_one_frame_and_relative_mode_warns_that_it_cancels_itself(
    animator, portrait, driving, tmp_path, caplog
):
    for mode, num_warnings in (("absolute", 0), ("relative", 1)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            result = animate_file(
                animator, None, AnimationRequest(portrait, portrait, tmp_path / "out.mp4", mode)
            )
        assert result.num_frames == 1
        assert len(caplog.records) == num_warnings


@pytest.mark.parametrize("role", ["source", "driving"])
def test_a_file_that_is_no_media_is_named(animator, portrait, driving, role, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    files = {"source": portrait, "driving": driving} | {role: text}
    with pytest.raises(UnreadableMediaError, match=r"notes\.txt"):
        animate_file(
            animator, None, AnimationRequest(files["source"], files["driving"], tmp_path / "out.mp4")
        )


def test_a_driving_clip_that_breaks_off_gives_no_result(animator, cropper, portrait, samples, tmp_path):
    broken = tmp_path / "broken.mp4"
    whole = (samples / "single_face.mp4").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableMediaError):
        animate_file(animator, None, AnimationRequest(portrait, broken, tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()


def test_stopping_leaves_nothing_behind(animator, portrait, driving, tmp_path):
    calls = iter([False, False, True])
    with pytest.raises(StoppedError):
        animate_file(
            animator,
            None,
            AnimationRequest(portrait, driving, tmp_path / "out.mp4", batch_size=1),
            should_stop=lambda: next(calls),
        )
    assert list(tmp_path.iterdir()) == []
