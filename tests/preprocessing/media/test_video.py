import re
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from preprocessing.media.video import (
    NoVideoHardwareError,
    UnreadableVideoError,
    VideoWriter,
    decode,
    decoded_duration_s,
    pack_frames,
    probe,
    read_image,
)

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
    levels = [middle(frame.image) for frame in decode(path, 25)]
    assert levels[:12] == pytest.approx([50] * 10 + [100] * 2, abs=3)
    assert set(levels[12:]) == {levels[12]}


def test_resampled_clip_lasts_as_long_as_the_video(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS, fps=24)
    assert abs(len(list(decode(path, 25))) / 25 - 20 / 24) <= 1 / 50 + 1e-6


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
    for read in (probe, decoded_duration_s, lambda path: next(decode(path))):
        with pytest.raises(UnreadableVideoError, match=r"page\.mp4.*give another file"):
            read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableVideoError, match="no such file"):
        probe(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path, make_sound):
    with pytest.raises(UnreadableVideoError, match="no video track"):
        probe(make_sound(tmp_path / "sound.mp4"))


def test_written_video_has_every_frame_and_the_exact_rate(tmp_path):
    rate = Fraction(30000, 1001)
    with VideoWriter(tmp_path / "o.mp4", rate, (64, 48)) as writer:
        for level in LEVELS:
            writer.write(np.full((48, 64, 3), level, np.uint8))
    info = probe(tmp_path / "o.mp4")
    assert (info.fps, info.num_frames, info.has_audio) == (rate, len(LEVELS), False)
    frames = list(decode(tmp_path / "o.mp4"))
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS, abs=4)
    assert frames[-1].pts_s == pytest.approx(float((len(LEVELS) - 1) / rate), abs=1e-4)


def test_odd_sizes_lose_no_picture(tmp_path):
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (63, 47)) as writer:
        writer.write(np.full((47, 63, 3), 120, np.uint8))
    info = probe(tmp_path / "o.mp4")
    assert (info.width_px, info.height_px) == (64, 48)


def test_colours_survive_writing_and_reading(tmp_path):
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128]], np.uint8)
    image = np.repeat(np.repeat(colours[None], 64, 0), 32, 1)
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (128, 64)) as writer:
        writer.write(image)
    read = next(decode(tmp_path / "o.mp4")).image
    np.testing.assert_allclose(read[32, 16::32].astype(int), colours.astype(int), atol=6)


@pytest.mark.parametrize("name", ["WolfgangLanger_Pexels.mp4", "single_face.mp4"])
def test_sound_of_the_driving_video_is_kept_and_cut_to_length(tmp_path, samples, name):
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48), audio_from=samples / name) as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert probe(tmp_path / "o.mp4").has_audio
    with av.open(str(tmp_path / "o.mp4")) as container:
        sound = [frame.time + frame.samples / frame.sample_rate for frame in container.decode(audio=0)]
    assert 0.9 < sound[-1] < 1.2


def test_a_codec_that_mp4_does_not_hold_is_encoded_again(tmp_path):
    with av.open(str(tmp_path / "in.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48), audio_from=tmp_path / "in.wav") as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert probe(tmp_path / "o.mp4").audio_codec == "aac"


def write_and_stop(path):
    with VideoWriter(path, Fraction(25), (64, 48)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")


def test_unfinished_video_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop(tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_image_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="32x48"),
        VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48)) as writer,
    ):
        writer.write(np.zeros((48, 32, 3), np.uint8))


def test_still_images_come_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "i.jpg", exif=exif)
    assert read_image(tmp_path / "i.jpg").shape == (40, 20, 3)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "i.jpg").write_text("no")
    with pytest.raises(ValueError, match=r"i\.jpg"):
        read_image(tmp_path / "i.jpg")


def odd_images(folder):
    """One image of each kind that has to be converted, with the words that name it and what becomes of it."""
    half = np.zeros((40, 50, 4), np.uint8)
    half[..., 0] = 200
    half[:, 25:, 3] = 255
    Image.fromarray(half, "RGBA").save(folder / "alpha.png")
    Image.fromarray(half, "RGBA").save(folder / "alpha.webp", lossless=True)
    Image.fromarray(half[..., [0, 3]], "LA").save(folder / "grey_alpha.png")
    palette = Image.new("P", (50, 40))
    palette.putpalette([200, 0, 0, 0, 0, 0])
    palette.save(folder / "palette_alpha.png", transparency=1)
    Image.fromarray(np.full((40, 50), 200 << 8, np.uint16)).save(folder / "deep_grey.png")
    deep = np.zeros((40, 50, 3), np.uint16)
    deep[..., 2] = 200 << 8  # OpenCV's order is BGR
    cv2.imwrite(str(folder / "deep.png"), deep)
    Image.new("CMYK", (50, 40), (0, 255, 255, 0)).save(folder / "cmyk.jpg", quality=95)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (50, 40), (200, 0, 0)).save(folder / f"turned_{orientation}.jpg", exif=exif)
    return {
        "alpha.png": "an alpha channel",
        "alpha.webp": "an alpha channel",
        "grey_alpha.png": "an alpha channel",
        "palette_alpha.png": "an alpha channel",
        "deep_grey.png": "16 bits a channel",
        "deep.png": "16 bits a channel",
        "cmyk.jpg": "CMYK colours",
    } | {f"turned_{orientation}.jpg": "an EXIF rotation" for orientation in range(2, 9)}


def test_images_that_are_not_plain_are_refused_or_converted(tmp_path):
    for name, words in odd_images(tmp_path).items():
        with pytest.raises(ValueError, match=rf"{re.escape(name)} with {words}; .*--convert"):
            read_image(tmp_path / name, convert=False)
        image = read_image(tmp_path / name)
        assert image.dtype == np.uint8
        assert image.shape == ((50, 40, 3) if name[-5] in "5678" else (40, 50, 3))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("alpha.png", (255, 255, 255), (200, 0, 0)),
        ("alpha.webp", (255, 255, 255), (200, 0, 0)),
        ("grey_alpha.png", (255, 255, 255), (200, 200, 200)),
        ("deep_grey.png", (200, 200, 200), (200, 200, 200)),
        ("deep.png", (200, 0, 0), (200, 0, 0)),
        ("cmyk.jpg", (255, 0, 0), (255, 0, 0)),
        ("turned_3.jpg", (200, 0, 0), (200, 0, 0)),
    ],
)
def test_conversion_keeps_the_colours_and_puts_transparency_on_white(tmp_path, name, left, right):
    odd_images(tmp_path)
    image = read_image(tmp_path / name).astype(int)
    assert np.abs(image[20, 5] - left).max() <= 3
    assert np.abs(image[20, -5] - right).max() <= 3


def test_half_transparent_pixels_are_half_white(tmp_path):
    Image.new("RGBA", (40, 40), (0, 0, 0, 128)).save(tmp_path / "i.png")
    assert np.abs(read_image(tmp_path / "i.png").astype(int) - 127).max() <= 1


def test_several_reasons_are_told_at_once(tmp_path):
    cv2.imwrite(str(tmp_path / "i.png"), np.zeros((40, 40, 4), np.uint16))
    with pytest.raises(ValueError, match="with an alpha channel and 16 bits a channel"):
        read_image(tmp_path / "i.png", convert=False)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_plain_images_are_taken_as_they_are(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.new(mode, (50, 40), 1).save(tmp_path / "i.png", exif=exif)
    assert read_image(tmp_path / "i.png", convert=False).shape == (40, 50, 3)


def test_a_machine_without_an_nvidia_gpu_says_so(tmp_path, samples, monkeypatch):
    # The driver shows none, also where there is one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(
        NoVideoHardwareError, match="hardware decoding of video was asked for, but no NVIDIA GPU"
    ):
        next(decode(samples / "single_face.mp4", hardware=True))
    with (
        pytest.raises(NoVideoHardwareError, match="hardware encoding of video was asked for"),
        VideoWriter(tmp_path / "out.mp4", Fraction(25), (64, 64), hardware=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


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
    assert decoded_duration_s(tmp_path / "one.mov") == pytest.approx(0.2)


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
