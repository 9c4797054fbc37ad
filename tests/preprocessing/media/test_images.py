import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from preprocessing.media.images import encode_jpeg, read_image


def test_colours_keep_their_full_resolution():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2] = (255, 0, 0)
    image[:, 1::2] = (0, 0, 255)
    back = np.asarray(Image.open(io.BytesIO(encode_jpeg(image, 95)))).astype(int)
    assert np.abs(back - image).max() < 30


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
    palette.paste(1, (0, 0, 25, 40))
    palette.save(folder / "palette_alpha.png", transparency=1)
    Image.fromarray(np.full((40, 50), 200 << 8, np.uint16)).save(folder / "deep_grey.png")
    deep = np.zeros((40, 50, 3), np.uint16)
    deep[..., 2] = 200 << 8  # OpenCV's order is BGR
    cv2.imwrite(str(folder / "deep.png"), deep)
    Image.new("CMYK", (50, 40), (0, 255, 255, 0)).save(folder / "cmyk.jpg", quality=95)
    return {
        "alpha.png": "an alpha channel",
        "alpha.webp": "an alpha channel",
        "grey_alpha.png": "an alpha channel",
        "palette_alpha.png": "an alpha channel",
        "deep_grey.png": "16 bits a channel",
        "deep.png": "16 bits a channel",
        "cmyk.jpg": "CMYK colours",
    }


def test_images_that_are_not_plain_are_refused_or_converted(tmp_path):
    for name, words in odd_images(tmp_path).items():
        with pytest.raises(ValueError, match=rf"{re.escape(name)} with {words}; .*--convert"):
            read_image(tmp_path / name, convert=False)
        losses = []
        image = read_image(tmp_path / name, losses=losses)
        assert (image.dtype, image.shape, losses) == (np.uint8, (40, 50, 3), [words])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_data_says_without_a_word(tmp_path, orientation):
    upright = np.zeros((40, 50, 3), np.uint8)
    upright[:10, :20] = 200
    # What a camera held that way stores, by orientation.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "i.png", exif=exif)
    losses = []
    for convert in (True, False):
        assert (read_image(tmp_path / "i.png", convert, losses) == upright).all()
    assert losses == []


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("alpha.png", (255, 255, 255), (200, 0, 0)),
        ("alpha.webp", (255, 255, 255), (200, 0, 0)),
        ("grey_alpha.png", (255, 255, 255), (200, 200, 200)),
        ("deep_grey.png", (200, 200, 200), (200, 200, 200)),
        ("deep.png", (200, 0, 0), (200, 0, 0)),
        ("cmyk.jpg", (255, 0, 0), (255, 0, 0)),
    ],
)
def test_conversion_keeps_the_colours_and_puts_transparency_on_white(tmp_path, name, left, right):
    odd_images(tmp_path)
    image = read_image(tmp_path / name).astype(int)
    assert np.abs(image[20, 5] - left).max() <= 3
    assert np.abs(image[20, -5] - right).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_that_is_opaque_everywhere_is_no_reason_to_refuse(tmp_path, mode):
    Image.new("RGB", (50, 40), (120, 120, 120)).convert(mode).save(tmp_path / "i.png")
    assert (read_image(tmp_path / "i.png", convert=False) == 120).all()


def test_a_photo_of_200_megapixels_is_read_at_a_smaller_size(tmp_path):
    photo = Image.new("L", (16000, 12500), 90)
    photo.paste(200, (8000, 0, 16000, 12500))
    photo.save(tmp_path / "i.jpg", quality=50)
    image = read_image(tmp_path / "i.jpg")
    assert image.shape == (6250, 8000, 3)
    assert (image[3000, 100, 0], image[3000, -100, 0]) == (90, 200)


def test_another_picture_of_over_100_megapixels_is_refused_for_its_size(tmp_path):
    Image.new("1", (12000, 10000)).save(tmp_path / "i.png")
    with pytest.raises(ValueError, match=r"12000x10000 px; at most 100 million"):
        read_image(tmp_path / "i.png")


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
