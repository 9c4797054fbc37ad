import numpy as np
import pytest

from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.video_reader import decode, find_damage, probe
from tests.preprocessing.ffmpeg import ffmpeg, filtered, make_pattern


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_truncated_file_lacks_pictures(tmp_path, suffix, share):
    flags = ("-movflags", "+faststart") if suffix == "mp4" else ()
    path = make_pattern(tmp_path / f"v.{suffix}", *flags, seconds=8)
    whole = len(list(decode(path)))
    assert (whole, probe(path).problems, find_damage(path)) == (200, (), [])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert {*probe(path).problems, *find_damage(path)}
    with pytest.raises(UnreadableVideoError, match="damaged or truncated"):
        list(decode(path))
    problems = []
    rest = len(list(decode(path, problems=problems)))
    assert problems
    assert 0 < rest < whole


def test_damage_inside_a_file_is_seen(tmp_path):
    path = make_pattern(tmp_path / "v.mp4", "-g", "250", seconds=4)
    content = bytearray(path.read_bytes())
    middle_of_it = len(content) // 2
    content[middle_of_it : middle_of_it + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    problems = []
    list(decode(path, problems=problems))
    assert problems
    assert find_damage(path) == problems
    with pytest.raises(UnreadableVideoError, match="damaged or truncated"):
        list(decode(path))


def test_damage_at_the_beginning_of_a_whole_file_is_seen(tmp_path):
    path = make_pattern(tmp_path / "v.mp4", "-g", "10", "-bf", "0", seconds=1)
    content = bytearray(path.read_bytes())
    first = content.index(b"mdat") + 4 + 1000
    content[first : first + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    assert find_damage(path)
    with pytest.raises(UnreadableVideoError, match="damaged or truncated"):
        list(decode(path))


def test_a_trimmed_recording_is_whole(tmp_path):
    whole = make_pattern(tmp_path / "whole.mp4", "-g", "50", seconds=4)
    path = tmp_path / "v.mp4"
    # Copied from the key frame before, with an edit list that hides the pictures up to the wanted time.
    ffmpeg("-ss", "1.2", "-i", whole, "-c", "copy", path)
    assert (probe(path).problems, find_damage(path)) == ((), [])
    assert len(list(decode(path))) == len(filtered(path)) == 70


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "mov"])
def test_a_sound_longer_than_the_picture_is_normal(tmp_path, suffix):
    picture = make_pattern(tmp_path / f"p.{suffix}", seconds=1)
    path = tmp_path / f"v.{suffix}"
    ffmpeg(
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        "sine=duration=4",
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "copy",
        path,
    )
    assert (probe(path).problems, find_damage(path)) == ((), [])
    assert probe(path).duration_s == pytest.approx(1, abs=0.05)


def test_a_recording_may_begin_between_key_frames(tmp_path):
    path = make_pattern(tmp_path / "v.ts", "-c:v", "libx264", "-g", "20", seconds=2)
    content = path.read_bytes()
    path.write_bytes(content[188 * (len(content) // 188 // 8) :])
    assert find_damage(path) == []
