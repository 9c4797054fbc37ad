from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.footage import (
    Decoding,
    UnreadableMediaError,
    first_picture,
    media_kind,
    open_footage,
    require_media,
)
from preprocessing.media.video_writer import VideoWriter


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("media") / "video"
    with VideoWriter(path, Fraction(25), (48, 40)) as writer:
        for level in (0, 100, 200):
            writer.write(np.full((40, 48, 3), level, dtype=np.uint8))
    return path


def save_image(path, image_format):
    Image.fromarray(np.full((40, 36, 3), 90, dtype=np.uint8)).save(path, image_format)
    return path


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp", "bmp", "avif", "gif"])
def test_images_are_recognised_by_their_bytes_not_their_name(tmp_path, image_format):
    path = save_image(tmp_path / "named_like_a.mp4", image_format)
    assert require_media(path) == "image"
    assert first_picture(path).shape == (40, 36, 3)


def test_the_first_picture_of_a_video_is_its_first_frame(video):
    assert require_media(video) == "video"
    picture = first_picture(video)
    assert picture.shape == (40, 48, 3)
    assert picture.max() < 20


@pytest.mark.parametrize("image_format", ["png", "webp", "avif", "gif"])
def test_an_animated_picture_is_a_video(tmp_path, image_format):
    images = [Image.new("RGB", (36, 40), (level, level, level)) for level in (30, 120, 220)]
    path = tmp_path / "named_like_a.jpg"
    images[0].save(path, image_format, save_all=True, append_images=images[1:], duration=100)
    assert require_media(path) == "video"
    footage = open_footage(path)
    assert (footage.num_frames, footage.fps, footage.sound) == (3, 10, None)
    assert [frame.start for frame in footage.shown()] == [0, Fraction(1, 10), Fraction(1, 5)]


@pytest.mark.parametrize(
    "brands", [b"heicmif1heic", b"hevcmsf1hevc", b"mif1mif1miafheic", b"msf1msf1hevciso8"]
)
def test_a_heic_picture_or_sequence_is_refused_for_what_it_is(tmp_path, brands):
    path = tmp_path / "photo.jpg"
    major, others = brands[:4], brands[4:]
    box = b"ftyp" + major + bytes(4) + others
    path.write_bytes((4 + len(box)).to_bytes(4, "big") + box + b"heic" + bytes(200))
    with pytest.raises(UnreadableMediaError, match=r"a HEIC picture.*convert it"):
        require_media(path)


PLAYLISTS = [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"]


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7", *PLAYLISTS])
def test_an_unknown_format_is_never_opened(tmp_path, content):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert media_kind(path) is None
    with pytest.raises(UnreadableMediaError, match=r"is empty|neither an image nor a video"):
        require_media(path)


def test_an_error_names_the_missing_file(tmp_path):
    with pytest.raises(UnreadableMediaError, match="nowhere"):
        require_media(tmp_path / "nowhere")


def test_a_truncated_image_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "half.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableMediaError):
        require_media(path)


def test_an_absurdly_large_image_is_refused(tmp_path):
    path = save_image(tmp_path / "bomb.bmp", "bmp")
    content = bytearray(path.read_bytes())
    content[18:26] = (100_000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with pytest.raises(UnreadableMediaError):
        require_media(path)


def test_a_truncated_video_is_refused(tmp_path, video):
    path = tmp_path / "head.mp4"
    path.write_bytes(video.read_bytes()[:100])
    with pytest.raises(UnreadableMediaError):
        require_media(path)


def test_where_no_gpu_decodes_a_video_the_cpu_does(video, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    footage = open_footage(video, decoding=Decoding(hardware=True))
    assert not footage.decoding.hardware
    for one, other in zip(footage.frames(), open_footage(video).frames(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_animated_picture_is_never_decoded_on_a_gpu(tmp_path, caplog):
    images = [Image.new("RGB", (36, 40), (level, level, level)) for level in (30, 120, 220)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100)
    footage = open_footage(tmp_path / "a.gif", decoding=Decoding(hardware=True))
    assert len(list(footage.frames())) == 3
    assert not caplog.records
