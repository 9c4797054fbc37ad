from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from lia_model.animation.driving import extract_motion
from lia_model.animation.footage import first_picture
from lia_model.animation.framing import FaceCropper
from lia_model.animation.motion_file import write_motion
from lia_model.animation.run import AnimationRun
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.animation.small_model import small_animator


@pytest.fixture(scope="package")
def animator():
    return small_animator(seed=0)


@pytest.fixture(scope="package")
def cropper(models):
    return FaceCropper(FaceDetector(models / "scrfd", min_score=0.5, pad_px=64), 5, 1.2)


@pytest.fixture(scope="package")
def driving(tmp_path_factory):
    """Nine moving frames at 29.97 fps."""
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    with VideoWriter(path, Fraction(30000, 1001), (48, 40)) as writer:
        for index in range(9):
            frame = np.zeros((40, 48, 3), dtype=np.uint8)
            frame[10:30, 5 + index : 25 + index] = 200
            writer.write(frame)
    return path


@pytest.fixture(scope="package")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def motion_file(animator, cropper, face_clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("motion") / "face.motion"
    write_motion(path, extract_motion(AnimationRun(animator, cropper, batch_size=3), face_clip))
    return path


@pytest.fixture(scope="package")
def photo(face_clip, tmp_path_factory):
    """A real face, in a picture with odd sides."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(first_picture(face_clip)[:351, :635]).save(path)
    return path


@pytest.fixture
def written(monkeypatch):
    """The frames that went into videos: x264 does not make the same bytes of them every time."""
    frames = []
    write = VideoWriter.write
    monkeypatch.setattr(
        VideoWriter, "write", lambda self, image, *time: frames.append(image) or write(self, image, *time)
    )
    return frames
