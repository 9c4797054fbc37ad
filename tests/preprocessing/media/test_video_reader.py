import numpy as np
import pytest

from preprocessing.media.video_reader import UnreadableVideoError, decode, examine, probe
from tests.preprocessing.ffmpeg import ffmpeg, filtered, make_pattern

LEVELS = list(range(20, 220, 10))


def middle(image):
    return int(image[image.shape[0] // 2, image.shape[1] // 2, 0])


def test_every_stored_frame_comes_once_with_its_own_time(tmp_path, make_video):
    times = [0, 0.04, 0.1, 0.3, 0.31]
    frames = list(decode(make_video(tmp_path / "v.mp4", LEVELS[:5], times)))
    assert [frame.pts_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS[:5], abs=3)


def test_same_rate_keeps_every_frame(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS)
    assert [middle(frame.image) for frame in decode(path, 25)] == pytest.approx(LEVELS, abs=3)


def test_variable_rate_is_resampled_by_time_on_screen(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", [50, 100, 200], [0, 0.4, 0.48])
    frames = list(decode(path, 25))
    assert [middle(frame.image) for frame in frames] == pytest.approx([50, 100, 200], abs=3)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.4, 0.48], abs=1e-3)


def test_a_slower_video_is_not_padded(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS, fps=10)
    frames = list(decode(path, 25))
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS, abs=3)
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 10 for number in range(20)], abs=1e-3)


def test_a_hole_starts_a_segment_and_takes_no_time(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS, [n * 0.04 + 600 * (n >= 10) for n in range(20)])
    assert [(frame.segment, frame.pts_s >= 600) for frame in decode(path, 25)] == [(0, False)] * 10 + [
        (1, True)
    ] * 10
    info = probe(path)
    assert (info.fps, info.num_frames, len(info.segments)) == (25, 20, 2)
    assert info.duration_s == pytest.approx(0.8, abs=0.01)


def test_the_rate_is_constant_only_if_pictures_come_at_it(tmp_path, make_video):
    assert probe(make_video(tmp_path / "c.mp4", LEVELS)).has_constant_rate
    slowing = [0.04 * n + (0.08 if n > 10 else 0) for n in range(20)]
    assert not probe(make_video(tmp_path / "v.mp4", LEVELS, slowing)).has_constant_rate


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_truncated_file_lacks_pictures(tmp_path, suffix, share):
    flags = ("-movflags", "+faststart") if suffix == "mp4" else ()
    path = make_pattern(tmp_path / f"v.{suffix}", *flags, seconds=8)
    whole = len(list(decode(path)))
    assert (whole, probe(path).problems, examine(path)) == (200, (), [])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert {*probe(path).problems, *examine(path)}
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
    assert examine(path) == problems
    with pytest.raises(UnreadableVideoError, match="damaged or truncated"):
        list(decode(path))


def test_a_trimmed_recording_is_whole(tmp_path):
    whole = make_pattern(tmp_path / "whole.mp4", "-g", "50", seconds=4)
    path = tmp_path / "v.mp4"
    # Copied from the key frame before, with an edit list that hides the pictures up to the wanted time.
    ffmpeg("-ss", "1.2", "-i", whole, "-c", "copy", path)
    assert (probe(path).problems, examine(path)) == ((), [])
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
    assert (probe(path).problems, examine(path)) == ((), [])
    assert probe(path).duration_s == pytest.approx(1, abs=0.05)


def test_a_recording_may_begin_between_key_frames(tmp_path):
    path = make_pattern(tmp_path / "v.ts", "-c:v", "libx264", "-g", "20", seconds=2)
    content = path.read_bytes()
    path.write_bytes(content[188 * (len(content) // 188 // 8) :])
    assert examine(path) == []


def test_a_single_frame_survives_any_rate(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", [80], fps=30)
    assert len(list(decode(path, 5))) == 1


@pytest.mark.parametrize(
    ("rotation", "size", "corner"),
    [(0, (64, 48), (0, 0)), (90, (48, 64), (-1, 0)), (180, (64, 48), (-1, -1)), (-90, (48, 64), (0, -1))],
)
def test_frames_come_upright(tmp_path, make_video, rotation, size, corner):
    """A positive angle turns the stored picture counter-clockwise: its top left corner goes down."""
    path = make_video(tmp_path / "v.mp4", [50, 50], rotation=rotation)
    info = probe(path)
    image = next(decode(path)).image
    assert (info.width_px, info.height_px) == size == image.shape[1::-1]
    assert image[corner][0] > 200
    assert (image > 200).all(axis=2).mean() == pytest.approx(1 / 16, abs=0.03)


@pytest.mark.parametrize("content", [b"", b"<html><body>no video here</body></html>" * 50])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "page.mp4"
    path.write_bytes(content)
    for read in (probe, examine, lambda path: next(decode(path))):
        with pytest.raises(UnreadableVideoError, match=r"page\.mp4.*give another file"):
            read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableVideoError, match="no such file"):
        probe(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path, make_sound):
    with pytest.raises(UnreadableVideoError, match="sound and no video track"):
        probe(make_sound(tmp_path / "sound.mp4"))
