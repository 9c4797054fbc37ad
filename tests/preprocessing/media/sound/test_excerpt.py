import io
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from preprocessing.media.sound.excerpt import RATE_HZ, SoundReader, encode_flac
from preprocessing.media.video_reader import decode
from tests.preprocessing.ffmpeg import ffmpeg

BEEP_S = 0.08
EVEN = [number / 25 for number in range(500)]
FLASHES = (3, 120, 290, 470)
"""Frames that are white and beep; parts from 10 s on are found by seeking."""
FORMATS = {
    "aac.mp4": ("-c:v", "copy", "-c:a", "aac"),
    "opus.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-enc_time_base:v", "1:1000", "-c:a", "libopus"),
    "vorbis.mkv": ("-c:v", "copy", "-c:a", "libvorbis"),
    "mp3.mp4": ("-c:v", "copy", "-c:a", "libmp3lame"),
    "mp2.ts": ("-c:v", "copy", "-c:a", "mp2"),
    "aac.ts": ("-c:v", "copy", "-c:a", "aac"),
    "pcm.mov": ("-c:v", "copy", "-c:a", "pcm_s16le", "-ar", "44100", "-ac", "2"),
}


def uneven():
    """Times of frames of a phone: 15 to 30 a second, changing all the time."""
    draw = np.random.default_rng(0)
    return np.cumsum([0, *draw.choice([0.033, 0.04, 0.067], 499)]).round(3).tolist()


def make_flashes(path, times_s, rate_hz=48000):
    """Write a black video whose frames FLASHES are white, with a beep from each of these on."""
    length = round((times_s[-1] + 0.1) * rate_hz)
    wave = np.zeros(length)
    for number in FLASHES:
        start = round(times_s[number] * rate_hz)
        beep = np.arange(round(BEEP_S * rate_hz)) / rate_hz
        wave[start : start + len(beep)] = 20000 * np.sin(2 * np.pi * 1000 * beep)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "20"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        audio = container.add_stream("pcm_s16le", rate=rate_hz, layout="stereo")
        for number, time_s in enumerate(times_s):
            image = np.full((64, 64, 3), 255 * (number in FLASHES), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * time_s)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, length, 1024):
            both = np.repeat(wave[start : start + 1024].astype(np.int16), 2)[None]
            sound = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
            sound.sample_rate, sound.pts = rate_hz, start
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def onsets(samples):
    """Return the samples at which a beep begins."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 3000)
    return [loud[0], *(after for before, after in pairwise(loud) if after - before > RATE_HZ * BEEP_S)]


def shown_white(path):
    return [one.pts_s for one in decode(path) if one.image.mean() > 128]


@pytest.fixture(scope="module")
def flashes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flashes")
    return {
        "even": make_flashes(folder / "even.mkv", EVEN),
        "uneven": make_flashes(folder / "uneven.mkv", uneven()),
    }


@pytest.mark.parametrize("kind", ["even", "uneven"])
@pytest.mark.parametrize("name", FORMATS)
def test_each_beep_is_heard_with_its_frame(flashes, tmp_path, name, kind):
    path = tmp_path / name
    ffmpeg("-i", flashes[kind], "-fps_mode", "passthrough", *FORMATS[name], path)
    white = shown_white(path)
    assert len(white) == len(FLASHES)
    reader = SoundReader(path)
    for time_s in white:
        start_s = max(time_s - 0.4, 0.0)
        excerpt = reader.read(start_s, time_s + 0.4)
        (heard,) = onsets(excerpt.samples)
        # Within a quarter of a frame.
        assert heard / RATE_HZ == pytest.approx(time_s - start_s, abs=0.01)


@pytest.mark.parametrize("late_s", [-0.7, 0.7])
def test_streams_that_begin_at_different_times_are_in_step(flashes, tmp_path, late_s):
    path, source = tmp_path / "late.mkv", flashes["even"]
    delayed = ("-itsoffset", late_s, "-i", source, "-map", "0:v", "-map", "1:a")
    ffmpeg("-i", source, *delayed, "-c:v", "copy", "-c:a", "flac", path)
    excerpt = SoundReader(path).read(4.0, 6.0)
    (heard,) = onsets(excerpt.samples)
    assert 4.0 + heard / RATE_HZ == pytest.approx(EVEN[120] + late_s, abs=0.01)


def test_an_excerpt_is_as_long_as_its_stretch_and_silence_fills_what_is_missing(flashes, tmp_path):
    short = tmp_path / "short.mkv"
    ffmpeg("-i", flashes["even"], "-c:v", "copy", "-af", "atrim=end=5", "-c:a", "flac", short)
    reader = SoundReader(short)
    whole, half, none = reader.read(1.0, 4.04), reader.read(4.0, 6.0), reader.read(7.0, 8.0)
    assert (len(whole.samples), whole.num_filled) == (round(3.04 * RATE_HZ), 0)
    assert len(half.samples) == 2 * RATE_HZ
    assert half.num_filled == pytest.approx(RATE_HZ, abs=RATE_HZ / 100)
    assert not half.samples[-half.num_filled :].any()
    assert none is None


def test_a_hole_in_the_sound_is_silence_and_moves_nothing(flashes, tmp_path):
    path = tmp_path / "hole.mkv"
    drop = "aselect='not(between(t,5,9))'"
    ffmpeg("-i", flashes["even"], "-c:v", "copy", "-af", drop, "-c:a", "flac", path)
    excerpt = SoundReader(path).read(4.0, 13.0)
    assert excerpt.num_filled == pytest.approx(4 * RATE_HZ, abs=RATE_HZ / 10)
    assert [4.0 + one / RATE_HZ for one in onsets(excerpt.samples)] == pytest.approx(
        [EVEN[120], EVEN[290]], abs=0.01
    )


def test_the_same_stretch_sounds_the_same_whatever_was_read_before(flashes):
    reader = SoundReader(flashes["even"])
    first = reader.read(12.0, 13.0)
    reader.read(2.0, 15.0)
    assert np.array_equal(reader.read(12.0, 13.0).samples, first.samples)


def test_files_without_sound_have_none(make_video, tmp_path):
    assert SoundReader(make_video(tmp_path / "mute.mp4", [90] * 30)).read(0.0, 1.0) is None


def test_a_clock_that_is_set_back_makes_sound_unknown(flashes, tmp_path):
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    ffmpeg("-i", flashes["even"], "-c:v", "copy", "-c:a", "mp2", one)
    two.write_bytes(one.read_bytes() * 2)
    assert SoundReader(one).read(1.0, 2.0) is not None
    assert SoundReader(two).read(1.0, 2.0) is None


def test_flac_holds_the_samples_as_they_are(flashes):
    # Longer than a block of FLAC may be.
    samples = SoundReader(flashes["even"]).read(0.0, 20.0).samples
    data = encode_flac(samples)
    assert data == encode_flac(samples)
    assert len(data) < samples.nbytes
    with av.open(io.BytesIO(data)) as container:
        assert (container.streams.audio[0].rate, container.streams.audio[0].layout.name) == (RATE_HZ, "mono")
        read = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.array_equal(read, samples)
