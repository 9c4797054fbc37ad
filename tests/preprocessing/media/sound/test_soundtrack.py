from fractions import Fraction

import av
import numpy as np
import pytest

from preprocessing.media.video_reader import probe
from preprocessing.media.video_writer import VideoWriter


@pytest.mark.parametrize("name", ["WolfgangLanger_Pexels.mp4", "single_face.mp4"])
def test_sound_of_the_driving_video_is_kept_and_cut_to_length(tmp_path, samples, name):
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48), audio_from=samples / name) as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert probe(tmp_path / "o.mp4").audio_codec
    with av.open(str(tmp_path / "o.mp4")) as container:
        sound = [frame.time + frame.samples / frame.sample_rate for frame in container.decode(audio=0)]
    assert 0.9 < sound[-1] < 1.2


def test_a_codec_that_mp4_does_not_hold_is_encoded_again(tmp_path):
    with av.open(str(tmp_path / "in.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48), audio_from=tmp_path / "in.wav") as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert probe(tmp_path / "o.mp4").audio_codec == "aac"
