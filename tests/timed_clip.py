"""Clips whose pictures and sound tell the time, to see whether a result keeps them in step."""

from fractions import Fraction

import av
import numpy as np

SIZE, RATE_HZ = 64, 16000
LEVELS_A_FRAME = 10
PAUSED = [0, 0.04, 0.08, 0.3, 0.34, 0.62, 0.65, 0.9, 0.94, 0.98]
"""Times of frames of a phone that is busy now and then."""


def make_clip(path, times_s, sound_s=0.0):
    """Write a video whose frame n is as bright as 10 n, with a sound as loud as the seconds passed."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "1"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        audio = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono") if sound_s else None
        for number, time_s in enumerate(times_s):
            image = np.full((SIZE, SIZE, 3), LEVELS_A_FRAME * number + 5, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * time_s)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            loudness = np.arange(round(sound_s * RATE_HZ)) / RATE_HZ * 1000
            wave = loudness * np.sin(np.arange(len(loudness)) * 2 * np.pi * 1000 / RATE_HZ)
            sound = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
            sound.sample_rate = RATE_HZ
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def loudness_at(path, time_s):
    """Return the seconds that the driving clip's sound had passed at a time of the result."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    times = np.concatenate([f.time + np.arange(f.samples) / f.sample_rate for f in frames])
    wave = np.concatenate([f.to_ndarray()[0] for f in frames])
    near = np.abs(times - time_s) < 0.02
    return float(np.abs(wave[near]).max()) * 32768 / 1000
