import io

import numpy as np
import pytest
import torch
from PIL import Image

from lia_model.data.pixels import (
    UndecodableImageError,
    decode_frame,
    decode_frame_of_size,
    to_bytes,
    to_float,
    to_range,
)

EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)


def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def test_every_byte_survives_the_round_trip():
    np.testing.assert_array_equal(to_bytes(to_float(EVERY_BYTE)), EVERY_BYTE)


def test_the_range_of_bytes_maps_to_minus_one_and_one_in_equal_steps():
    floats = to_range(torch.arange(256, dtype=torch.uint8))
    torch.testing.assert_close(floats, torch.linspace(-1, 1, 256))


def test_each_pixel_keeps_its_place_and_channel(images):
    floats = to_float(images)
    assert floats.shape == (2, 3, 4, 6)
    for t, y, x, channel in [(0, 0, 0, 0), (1, 3, 5, 2), (0, 2, 4, 1)]:
        assert floats[t, channel, y, x].item() == pytest.approx(images[t, y, x, channel] / 127.5 - 1)


def test_arrays_and_tensors_give_the_same_floats_in_channels_last(images):
    floats = to_float(images)
    assert torch.equal(floats, to_float(torch.from_numpy(images)))
    assert floats.is_contiguous(memory_format=torch.channels_last)


def test_the_input_is_left_as_it_was_and_may_be_read_only(images):
    before = images.copy()
    images.flags.writeable = False
    to_float(images).zero_()
    np.testing.assert_array_equal(images, before)


def test_floats_are_rounded_to_the_nearest_byte():
    step = 2 / 255
    floats = to_float(EVERY_BYTE)
    for shift in (-0.45 * step, 0.45 * step):
        np.testing.assert_array_equal(to_bytes((floats + shift).clamp(-1, 1)), EVERY_BYTE)


@pytest.mark.parametrize(("value", "byte"), [(1.5, 255), (100.0, 255), (-1.5, 0), (-100.0, 0)])
def test_values_outside_the_range_are_clamped_not_wrapped(value, byte):
    assert set(to_bytes(torch.full((1, 3, 2, 2), value)).ravel().tolist()) == {byte}


def test_low_precision_is_converted_before_it_is_rounded():
    low = to_float(EVERY_BYTE).to(torch.bfloat16)
    np.testing.assert_array_equal(to_bytes(low), to_bytes(low.float()))


def test_a_jpeg_is_decoded_in_rgb_order():
    red = Image.new("RGB", (16, 8), (250, 20, 60))
    decoded = decode_frame(jpeg(red))
    assert decoded.shape == (8, 16, 3)
    assert np.abs(decoded.astype(int) - (250, 20, 60)).max() <= 2


def test_a_grey_jpeg_has_three_equal_channels():
    decoded = decode_frame(jpeg(Image.linear_gradient("L").resize((16, 16))))
    assert decoded.shape == (16, 16, 3)
    assert (decoded == decoded[..., :1]).all()
    assert decoded.min() < decoded.max()


def test_a_picture_of_its_size_is_decoded_and_any_other_is_refused():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    np.testing.assert_array_equal(decode_frame_of_size(jpeg(image), 32), decode_frame(jpeg(image)))
    with pytest.raises(UndecodableImageError, match=r"^32x32 instead of 64x64$"):
        decode_frame_of_size(jpeg(image), 64)


def test_any_damage_is_one_error_of_one_line_or_a_picture():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    whole, draw = jpeg(image), np.random.default_rng(1)
    reasons = set()
    for _ in range(2000):
        data = bytearray(whole)
        kind = draw.integers(3)
        first, second = (int(place) for place in np.sort(draw.integers(0, len(data), 2)))
        if kind == 0:
            data = data[:first]
        elif kind == 1:
            data[first:second] = bytes(second - first)
        else:
            # Headers are the first 600 bytes.
            for place in draw.integers(0, 600, 8):
                data[place] = draw.integers(256)
        try:
            assert decode_frame_of_size(bytes(data), 32).shape == (32, 32, 3)
        except UndecodableImageError as error:
            reasons.add(str(error))
    assert any("truncated" in reason for reason in reasons)
    assert not any("\n" in reason or " at 0x" in reason for reason in reasons)
