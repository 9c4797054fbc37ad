"""Parts decoded from the middle of a file against the same parts decoded from its beginning, byte by byte."""

import hashlib
import random
import shutil
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from preprocessing.media.containers.packets import UnreadableVideoError, counted_packets
from preprocessing.media.parts import listed_part, picture_index
from preprocessing.media.parts.listed_part import part_frames
from preprocessing.media.parts.part_decoding import find_part
from preprocessing.media.timeline import NUM_SAMPLED
from preprocessing.media.video_reader import decode
from tests.preprocessing.ffmpeg import ffmpeg

SECONDS = 6
SOURCE = f"testsrc2=size=160x120:rate=25:duration={SECONDS},noise=alls=20:allf=t"
GOP = ("-g", 25, "-keyint_min", 25)
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-sc_threshold", 0, *GOP)
FILM = ("-f", "lavfi", "-i", SOURCE)
SPANS = ((4.1, 4.6, 25), (3.0, 3.5, 12), (2.97, 3.1, 25), (5.3, None, 25))
"""Start and end of parts, and the rate at which they are read."""

# Files in which a part in the last third is decoded from the middle.
FAST = {
    "closed.mp4": H264,
    "closed.mkv": H264,
    "closed.ts": H264,
    "no_b.mp4": (*H264, "-bf", 0),
    "pyramid.mp4": (*H264, "-bf", 8, "-b_strategy", 0, "-x264-params", "b-pyramid=normal"),
    "open.mp4": (*H264, "-x264-params", "open-gop=1"),
    "open.ts": (*H264, "-x264-params", "open-gop=1"),
    "rotated.mp4": (*H264, "-vf", "scale=160:120"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", *GOP, "-x265-params", "log-level=none"),
    "hevc_open.mkv": (
        *("-c:v", "libx265", "-preset", "fast"),
        *("-x265-params", "log-level=none:keyint=25:min-keyint=25:open-gop=1:bframes=4"),
    ),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-b:v", "300k", *GOP),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", 12, "-g", 25),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-bf", 2, "-g", 12, "-q:v", 4),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", 3),
    "interlaced.mp4": (*H264, "-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ilme+ildct"),
    "paused.mkv": (*H264, "-vf", "setpts='PTS+10/TB*gt(N,60)+0.013/TB*mod(N,3)'", "-fps_mode", "passthrough"),
    "fragmented.mp4": (*H264, "-movflags", "frag_keyframe+empty_moov"),
}
# Files whose packets do not tell enough, so that the part is decoded from the beginning.
SLOW = {
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", 8, "-b:v", "300k", *GOP),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", 2, *GOP),
    "refresh.mp4": (*H264, "-x264-params", "intra-refresh=1"),
    "no_times.h264": H264,
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Function that writes a film in one of the ways above."""
    folder = tmp_path_factory.mktemp("parts")

    def write(name):
        path = folder / name
        if not path.is_file():
            arguments = (FAST | SLOW)[name]
            ffmpeg("-display_rotation", 90, *FILM, *arguments, path) if name.startswith(
                "rotated"
            ) else ffmpeg(*FILM, *arguments, path)
        return path

    return write


@pytest.fixture(autouse=True)
def _no_part_is_near(monkeypatch):
    monkeypatch.setattr(listed_part, "NEAR_S", 0.0)


def facts(frames):
    """Return all that is to be equal of each frame, or the error that ended them."""
    found = []
    try:
        for frame in frames:
            pixels = (frame.image.shape, frame.image.tobytes(), frame.picture.small.tobytes())
            digest = hashlib.sha256(repr(pixels[0]).encode() + pixels[1] + pixels[2]).hexdigest()
            found.append((frame.number, frame.pts_s, frame.starts_segment, digest))
    except UnreadableVideoError as error:
        found.append(str(error))
    return found


def from_beginning(path, fps, start_s, end_s):
    """Return the part as the reader of whole videos gives it."""
    segment = 0
    for number, frame in enumerate(decode(path, fps)):
        if end_s is not None and frame.pts_s >= end_s:
            return
        if frame.pts_s >= start_s:
            yield listed_part.NumberedFrame(number, frame.picture, frame.pts_s, frame.segment != segment)
        segment = frame.segment


def is_fast(path, fps, start_s, end_s):
    return find_part(path, Fraction(fps), Fraction(1, 2), start_s, end_s) is not None


def check(path, spans=SPANS):
    for start_s, end_s, fps in spans:
        wanted = facts(from_beginning(path, fps, start_s, end_s))
        assert facts(part_frames(path, fps, 0.5, start_s, end_s)) == wanted, (start_s, end_s, fps)
    return wanted


@pytest.mark.parametrize("name", FAST)
def test_a_part_from_the_middle_has_the_frames_numbers_and_times_of_the_whole(make, name):
    path = make(name)
    later = 10.0 if name.startswith("paused") else 0.0
    spans = [(start + later, None if end is None else end + later, fps) for start, end, fps in SPANS]
    assert check(path, spans)
    assert is_fast(path, 25, 4.1 + later, 4.9 + later)


@pytest.mark.parametrize("name", SLOW)
def test_a_part_of_a_file_that_does_not_tell_enough_is_decoded_from_the_beginning(make, name):
    path = make(name)
    check(path)
    assert not is_fast(path, 25, 4.1, 4.9)


def test_a_part_in_a_film_with_an_edit_list(make, tmp_path):
    """Stream copy from 1.5 s keeps the pictures from 1 s on, and hides the first ones by an edit list."""
    ffmpeg("-ss", 1.5, "-i", make("closed.mp4"), "-c", "copy", tmp_path / "cut.mp4")
    with av.open(str(tmp_path / "cut.mp4")) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    assert check(tmp_path / "cut.mp4", ((3.1, 3.9, 25), (2.5, None, 12)))
    assert is_fast(tmp_path / "cut.mp4", 25, 3.1, 3.9)


def test_a_recording_that_begins_between_key_frames(make, tmp_path):
    data = make("closed.ts").read_bytes()
    cut = len(data) // 12 // 188 * 188
    (tmp_path / "cut.ts").write_bytes(data[cut:])
    assert check(tmp_path / "cut.ts", ((3.1, 3.9, 25), (2.5, None, 12)))


def test_a_clock_that_is_set_back_is_followed_from_the_beginning(make, tmp_path):
    data = make("closed.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(2 * data)
    assert check(tmp_path / "twice.ts", ((8.1, 8.9, 25), (4.0, 4.5, 25)))
    assert not is_fast(tmp_path / "twice.ts", 25, 8.1, 8.9)


def test_an_index_of_seek_points_is_not_needed(make, tmp_path):
    """Matroska written as a stream has none."""
    data = ffmpeg("-i", make("closed.mp4"), "-c", "copy", "-f", "matroska", "-")
    (tmp_path / "live.mkv").write_bytes(data)
    assert check(tmp_path / "live.mkv")


def test_frames_of_another_size_than_the_first(make, tmp_path):
    """Each recording brings its own size; the pictures of a video have that of its first one."""
    small = tmp_path / "small.ts"
    ffmpeg(*FILM, "-vf", "scale=96:80,format=yuv420p", *H264, "-output_ts_offset", 6, small)
    (tmp_path / "both.ts").write_bytes(make("closed.ts").read_bytes() + small.read_bytes())
    assert check(tmp_path / "both.ts", ((4.1, 4.6, 25), (8.1, 8.9, 12)))


def test_truncation_is_noticed_by_a_part_that_goes_to_the_end(make, tmp_path):
    data = make("closed.ts").read_bytes()
    ffmpeg("-i", make("closed.mp4"), "-c", "copy", "-movflags", "+faststart", tmp_path / "front.mp4")
    whole = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    assert "damaged or truncated" in check(tmp_path / "short.mp4", ((4.1, 4.4, 25), (4.2, None, 25)))[-1]
    (tmp_path / "short.ts").write_bytes(data[: len(data) * 9 // 10])
    assert "damaged pictures: 1" in check(tmp_path / "short.ts", ((4.1, 4.4, 25), (4.2, None, 25)))[-1]


@pytest.mark.parametrize("name", ["closed.mp4", "open.ts", "hevc_open.mkv"])
def test_damage_in_a_part_gives_the_times_and_the_error_of_the_whole(make, tmp_path, name):
    """Pixels are not compared: what hides damage depends on the pictures that were decoded before."""
    data = make(name).read_bytes()
    draw = random.Random(0)
    for number in range(4):
        damaged = bytearray(data)
        start = draw.randrange(len(data) * 3 // 4, len(data) * 9 // 10)
        for place in range(start, start + draw.choice((1, 40, 400))):
            damaged[place] = draw.randrange(256)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damaged)
        wanted = facts(from_beginning(path, 25, 3.6, None))
        found = facts(part_frames(path, 25, 0.5, 3.6, None))
        errors = [[one for one in each if isinstance(one, str)] for each in (wanted, found)]
        assert [one[:3] for one in found] == [one[:3] for one in wanted]
        assert errors[0] == errors[1]


@pytest.fixture
def damaged(make, tmp_path):
    """Function that damages one picture of a film, near a time, and returns the file."""

    def write(name, time_s):
        path = tmp_path / name
        data = bytearray(make(name).read_bytes())
        with av.open(str(make(name))) as container:
            packets = [one for one in container.demux(video=0) if one.size]
        start = min(one.pts for one in packets)
        hit = min(
            (one for one in packets if one.size > 300),
            key=lambda one: abs((one.pts - start) * one.time_base - time_s),
        )
        place = data.index(bytes(hit))
        # Its header and length stay; the rest is lost, as in a block that a disk did not write.
        num_lost = hit.size // 2
        data[place + hit.size - num_lost : place + hit.size] = bytes(num_lost)
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("name", ["closed.mp4", "closed.mkv", "interlaced.mp4"])
def test_a_damaged_picture_in_a_part_is_an_error_as_in_a_whole_video(damaged, name):
    """Pixels are not compared: what hides damage depends on the pictures that were decoded before."""
    path = damaged(name, 4.3)
    whole = facts(part_frames(path, 25, 0.5, None, None))
    assert "it is damaged or truncated: damaged pictures: 1;" in whole[-1]
    part = facts(part_frames(path, 25, 0.5, 4.1, 4.9))
    assert part[-1] == whole[-1]
    assert [one[:3] for one in part[:-1]] == [one[:3] for one in whole[:-1] if 4.1 <= one[1] < 4.9]
    # The part begins after it, but is decoded from a key frame before it.
    assert facts(part_frames(path, 25, 0.5, 4.6, 4.9))[-1] == whole[-1]


@pytest.mark.parametrize("name", ["closed.mp4", "closed.mkv"])
def test_damage_elsewhere_in_the_video_does_not_count(make, damaged, monkeypatch, name):
    path = damaged(name, 4.3)
    for start_s, end_s in ((3.1, 3.9), (5.1, 5.5), (0.0, 3.0)):
        wanted = facts(part_frames(make(name), 25, 0.5, start_s, end_s))
        assert not any(isinstance(one, str) for one in wanted)
        for near_s in (0.0, 100.0):
            monkeypatch.setattr(listed_part, "NEAR_S", near_s)
            assert facts(part_frames(path, 25, 0.5, start_s, end_s)) == wanted


def test_reading_one_frame_reads_no_more_than_is_needed(make):
    frames = part_frames(make("closed.mp4"), 25, 0.5, 4.1, None)
    assert [frame.number for frame in islice(frames, 1)] == [103]
    assert np.isfinite(next(frames).pts_s)


def test_a_late_part_of_an_mp4_file_is_found_without_reading_all_packets(make, tmp_path, monkeypatch):
    read = []

    def count(container, stream, completeness):
        for packet in counted_packets(container, stream, completeness):
            read.append(packet.size)
            yield packet

    monkeypatch.setattr(picture_index, "counted_packets", count)
    # Of a file that was looked at before, the index may be remembered.
    path = Path(shutil.copy(make("closed.mp4"), tmp_path / "new.mp4"))
    assert is_fast(path, 25, 5.0, 5.5)
    assert len(read) == NUM_SAMPLED < 25 * SECONDS
