import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.media_check import MediaChecker, MediaTooLargeError, check_media
from lia_model.settings import MediaLimits
from preprocessing.media.video_writer import VideoWriter

LIMITS = MediaLimits(
    max_pixels=10_000, max_num_frames=20, max_duration_s=4, check_timeout_s=60, check_memory_bytes=10**9
)


def limits(**changes):
    return LIMITS.model_copy(update=changes)


def clip(path, num_frames, fps, side_px=32):
    with VideoWriter(path, Fraction(fps), (side_px, side_px)) as writer:
        for _ in range(num_frames):
            writer.write(np.zeros((side_px, side_px, 3), dtype=np.uint8))
    return path


def picture(path, width, height):
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(path)
    return path


def animation(path, num_frames, frame_s):
    pictures = [Image.fromarray(np.full((40, 40), 10 * index, dtype=np.uint8)) for index in range(num_frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=round(1000 * frame_s))
    return path


def header_of_a_png(path, width, height):
    """Write a PNG that ends where its pixels should begin."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT")
    return path


def test_what_is_within_the_limits_has_its_kind(tmp_path):
    assert check_media(picture(tmp_path / "a.png", 100, 100), LIMITS) == "image"
    assert check_media(clip(tmp_path / "a.mp4", 20, 5), LIMITS) == "video"
    assert check_media(animation(tmp_path / "a.gif", 20, 0.2), LIMITS) == "video"
    (tmp_path / "a.txt").write_text("hello")
    assert check_media(tmp_path / "a.txt", LIMITS) is None


@pytest.mark.parametrize(("width", "height"), [(101, 100), (40, 251)])
def test_a_picture_is_refused_by_its_header(tmp_path, width, height):
    for path in (
        picture(tmp_path / "a.png", width, height),
        picture(tmp_path / "a.webp", width, height),
        header_of_a_png(tmp_path / "header.png", width, height),
    ):
        with pytest.raises(MediaTooLargeError, match=f"got pictures of {width}x{height} px; at most 10000"):
            check_media(path, LIMITS)


def test_jpeg_files_may_have_more_pixels_since_they_are_read_reduced(tmp_path):
    assert check_media(picture(tmp_path / "a.jpg", 300, 300), LIMITS) == "image"


def test_the_frames_of_a_video_are_limited_in_size_number_and_time(tmp_path):
    with pytest.raises(MediaTooLargeError, match="pictures of 128x128 px"):
        check_media(clip(tmp_path / "large.mp4", 2, 25, side_px=128), LIMITS)
    with pytest.raises(MediaTooLargeError, match="more than 20 frames, the limit"):
        check_media(clip(tmp_path / "many.mp4", 21, 25), LIMITS)
    with pytest.raises(MediaTooLargeError, match=r"of at least \d+ s; at most 4 s"):
        check_media(clip(tmp_path / "long.mp4", 12, 1), LIMITS)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_the_pictures_of_an_animation_are_limited_in_number_and_time(tmp_path, suffix):
    with pytest.raises(MediaTooLargeError, match="more than 20 frames"):
        check_media(animation(tmp_path / f"many.{suffix}", 21, 0.1), LIMITS)
    with pytest.raises(MediaTooLargeError, match="at most 4 s"):
        check_media(animation(tmp_path / f"long.{suffix}", 5, 1), LIMITS)


def test_a_damaged_file_is_unreadable_and_not_too_large(tmp_path):
    path = picture(tmp_path / "a.png", 100, 100)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UnreadableMediaError) as caught:
        check_media(path, LIMITS)
    assert not isinstance(caught.value, MediaTooLargeError)


@pytest.fixture
def checker():
    made = []

    def make(wanted):
        made.append(MediaChecker(wanted))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_child_process_answers_as_the_check_itself(tmp_path, checker):
    check = checker(LIMITS).check
    assert check(picture(tmp_path / "a.png", 100, 100)) == "image"
    assert check(clip(tmp_path / "a.mp4", 20, 5)) == "video"
    (tmp_path / "a.txt").write_text("hello")
    assert check(tmp_path / "a.txt") is None
    with pytest.raises(MediaTooLargeError, match="pictures of 101x100 px"):
        check(picture(tmp_path / "b.png", 101, 100))
    with pytest.raises(UnreadableMediaError, match="at least 32 px"):
        check(picture(tmp_path / "c.png", 31, 31))


def test_memory_and_time_of_the_child_are_limited_and_the_next_file_is_checked_again(tmp_path, checker):
    small, large = picture(tmp_path / "a.png", 100, 100), picture(tmp_path / "b.png", 9_000, 9_000)
    costly = checker(limits(max_pixels=10**8, check_memory_bytes=400_000_000))
    assert costly.check(small) == "image"
    with pytest.raises(MediaTooLargeError, match="more than 400000000 bytes of memory"):
        costly.check(large)
    assert costly.check(small) == "image"
    with pytest.raises(MediaTooLargeError, match=r"took longer than 0.01 s"):
        checker(limits(check_timeout_s=0.01)).check(small)
