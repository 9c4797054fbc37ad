"""Ten minutes of video (DRILL_LONG_S) must need no more memory than ten seconds: nothing may hold frames.

Peak resident memory of a whole `lia animate` process, of which 10 % are allowed for what must grow a little:
the containers' tables of packets and, with a best start, the motion weights.
"""

import itertools
import logging
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lia_model.animation.compositing import resize
from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines import presets
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.drill

LIA = Path(sys.executable).parent / "lia"
FPS = 25
SHORT_S, LONG_S = 10, int(os.environ.get("DRILL_LONG_S", "600"))
WIDTH_PX, HEIGHT_PX = 320, 180
WAYS = {
    "photo": ("photo.png", ("--paste-back",)),
    "best start": ("photo.png", ("--start", "best", "--side-by-side")),
    "video to video": (None, ("--paste-back", "--side-by-side")),
}
"""Source, or None for the driving clip itself, and options."""


@pytest.fixture(scope="module")
def project(tmp_path_factory, models, samples):
    """A tiny model, a photo, and clips of one face and a tone, ten seconds and `LONG_S` long."""
    root = tmp_path_factory.mktemp("project")
    presets.write_preset("demo", root / "params.yaml")
    params = (root / "params.yaml").read_text()
    # Looking for faces takes most of the time and holds nothing.
    (root / "params.yaml").write_text(params.replace("every_num_frames: 10", "every_num_frames: 25"))
    (root / "models").symlink_to(models)
    network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(root / "model", build_generator(network, seed=0))
    shown = itertools.islice(decode(samples / "single_face.mp4"), 50)
    frames = [resize(frame.image, WIDTH_PX, HEIGHT_PX) for frame in shown]
    Image.fromarray(frames[0]).save(root / "photo.png")
    tone = make_tone(root / "tone.wav")
    for name, lasts_s in (("short.mp4", SHORT_S), ("long.mp4", LONG_S)):
        make_clip(root / name, frames, lasts_s, tone)
    return root


def make_tone(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for _ in range(LONG_S):
            wave = (8000 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_clip(path, frames, lasts_s, tone):
    """Show the frames forwards and backwards, over and over."""
    loop = itertools.cycle([*frames, *frames[::-1]])
    with VideoWriter(path, Fraction(FPS), (WIDTH_PX, HEIGHT_PX), audio_from=tone) as video:
        for frame in itertools.islice(loop, round(lasts_s * FPS)):
            video.write(frame)


def peak_bytes(project, source, driving, options):
    """Return the peak resident memory of one animation."""
    output = project / "out.mp4"
    command = [LIA, "animate", source, driving, "-o", output, "--model", "model", "--device", "cpu", *options]
    process = subprocess.Popen(command, cwd=project, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert probe(output).num_frames == probe(project / driving).num_frames
    assert probe(output).audio_codec
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("way", WAYS)
def test_a_long_clip_needs_no_more_memory_than_ten_seconds(project, way):
    source, options = WAYS[way]
    short, long = (
        peak_bytes(project, source or driving, driving, options) for driving in ("short.mp4", "long.mp4")
    )
    logger.info("%s: %.0f MiB in ten seconds, %.0f MiB in %d s", way, short / 2**20, long / 2**20, LONG_S)
    assert long <= 1.1 * short
