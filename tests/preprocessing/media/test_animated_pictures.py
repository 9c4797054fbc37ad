import numpy as np
import pytest
from PIL import Image

from preprocessing.media.animated_pictures import is_animated_picture
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.video_reader import decode, find_damage, probe

LEVELS = (30, 120, 220)
SUFFIXES = ["gif", "webp", "png", "avif"]


def save(path, levels=LEVELS, durations_ms=100, transparent=False):
    images = [Image.new("RGBA", (96, 64), (level, level, level, 0)) for level in levels]
    if not transparent:
        images = [image.convert("RGB") for image in images]
    options = {".webp": {"lossless": True}, ".avif": {"quality": 100}}.get(path.suffix, {})
    more = {"save_all": True, "append_images": images[1:], "duration": durations_ms} if images[1:] else {}
    images[0].save(path, **more, **options)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_animation_is_a_clip_whatever_its_name(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}").rename(tmp_path / "named.mp4")
    assert is_animated_picture(path)
    frames = list(decode(path))
    assert [int(frame.image[32, 48, 0]) for frame in frames] == pytest.approx(LEVELS, abs=3)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.1, 0.2])
    info = probe(path)
    assert (info.width_px, info.height_px, info.fps, info.num_frames) == (96, 64, 10, 3)
    assert (info.codec, info.audio_codec, info.problems) == (suffix, None, ())
    assert find_damage(path) == []


@pytest.mark.parametrize("suffix", [*SUFFIXES, "jpg", "bmp"])
def test_a_still_is_no_clip(tmp_path, suffix):
    assert not is_animated_picture(save(tmp_path / f"a.{suffix}", levels=(30,)))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_pictures_are_shown_as_long_as_the_file_says(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", durations_ms=[40, 200, 60])
    assert [frame.pts_s for frame in decode(path)] == pytest.approx([0, 0.04, 0.24])
    assert probe(path).duration_s == pytest.approx(0.3)
    assert not probe(path).has_constant_rate


def test_a_fast_animation_is_thinned_and_a_slow_one_kept(tmp_path):
    fast = save(tmp_path / "fast.webp", levels=range(0, 200, 10), durations_ms=20)
    assert len(list(decode(fast, 25))) == 10
    assert len(list(decode(save(tmp_path / "slow.webp"), 25))) == 3


def test_transparency_is_shown_on_white(tmp_path):
    path = save(tmp_path / "a.webp", transparent=True)
    assert all((frame.image == 255).all() for frame in decode(path))


def test_a_truncated_animation_is_seen(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (6, 64, 96, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in noise]
    path = tmp_path / "a.png"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert find_damage(path)
    with pytest.raises(UnreadableVideoError, match="damaged or truncated"):
        list(decode(path))
    problems = []
    assert 0 < len(list(decode(path, problems=problems))) < 6
    assert problems
