import numpy as np
import pytest
from PIL import Image

from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.frame_folder import pack_frames
from preprocessing.media.video_reader import decode, find_damage, probe


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    (tmp_path / "clip").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "clip" / f"{number:07d}.png")
    return tmp_path / "clip", images


def test_pictures_become_a_video_without_loss(tmp_path, pictures):
    folder, images = pictures
    for name in ("one.mov", "two.mov"):
        pack_frames(folder, tmp_path / name, 25)
    assert (tmp_path / "one.mov").read_bytes() == (tmp_path / "two.mov").read_bytes()
    assert np.array_equal(np.stack([frame.image for frame in decode(tmp_path / "one.mov")]), images)
    info = probe(tmp_path / "one.mov")
    assert (info.fps, info.width_px, info.height_px) == (25, 48, 32)
    assert (info.duration_s, find_damage(tmp_path / "one.mov")) == (pytest.approx(0.2), [])


def test_pictures_are_ordered_by_their_numbers(tmp_path):
    (tmp_path / "clip").mkdir()
    for number in range(12):
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(tmp_path / "clip" / f"frame {number}.png")
    pack_frames(tmp_path / "clip", tmp_path / "v.mov", 25)
    reds = [int(frame.image[0, 0, 0]) for frame in decode(tmp_path / "v.mov")]
    assert reds == [20 * number for number in range(12)]


def test_pictures_that_make_no_video_are_refused(tmp_path, pictures):
    folder, images = pictures
    Image.fromarray(images[0, :16]).save(folder / "small.png")
    with pytest.raises(UnreadableVideoError, match="2 sizes"):
        pack_frames(folder, tmp_path / "v.mov", 25)
    (folder / "small.png").write_text("no picture")
    with pytest.raises(UnreadableVideoError, match="not a PNG"):
        pack_frames(folder, tmp_path / "v.mov", 25)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableVideoError, match="0 sizes"):
        pack_frames(tmp_path / "empty", tmp_path / "v.mov", 25)
