import gc

import numpy as np
import pytest
from av.video.frame import VideoFrame

from preprocessing.media.picture import whole_picture
from preprocessing.media.video_reader import decode, probe
from tests.preprocessing.ffmpeg import EXACT, ffmpeg, filtered, make_hdr, make_pattern

LEVELS = 2
"""Largest mean difference from the reference, in levels of 8 bits."""


def shown(path):
    return np.stack([frame.image for frame in decode(path)])


def assert_same_pictures(path, graph=EXACT, levels=LEVELS):
    ours, expected = shown(path), filtered(path, graph)
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected.astype(int)).mean(axis=(1, 2, 3)).max() <= levels
    info = probe(path)
    assert (info.num_frames, info.height_px, info.width_px) == ours.shape[:3]


@pytest.mark.parametrize("mirrored", [(), ("-display_hflip",), ("-display_vflip",)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_and_mirrored_as_the_display_matrix_says(tmp_path, degrees, mirrored):
    plain = make_pattern(tmp_path / "plain.mp4")
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, *mirrored, "-i", plain, "-c", "copy", path)
    assert_same_pictures(path)


@pytest.mark.parametrize("aspect", ["64/45", "16/15", "15/16", "1/2"])
def test_pixels_are_made_square(tmp_path, aspect):
    path = make_pattern(tmp_path / "v.mp4", "-vf", f"setsar={aspect}")
    assert_same_pictures(path, "scale=round(iw*sar):ih:flags=bicubic+accurate_rnd")


def test_pixels_are_made_square_before_the_picture_is_turned(tmp_path):
    plain = make_pattern(tmp_path / "plain.mp4", "-vf", "setsar=4/3")
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", 90, "-i", plain, "-c", "copy", path)
    # 320x240 is 427x240 in square pixels, and stands upright.
    assert (probe(path).width_px, probe(path).height_px) == (240, 427)


@pytest.mark.parametrize("size", ["319x241", "64x47"])
def test_odd_sizes_are_kept(tmp_path, size):
    assert_same_pictures(make_pattern(tmp_path / "v.mkv", "-pix_fmt", "yuv444p", size=size))


def test_pictures_of_another_size_are_resized_to_the_first(tmp_path):
    one, other = (
        make_pattern(tmp_path / f"{size}.ts", "-c:v", "libx264", "-bf", "0", size=size, seconds=0.2)
        for size in ("320x240", "640x480")
    )
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + other.read_bytes())
    pictures = shown(path)
    assert pictures.shape == (10, 240, 320, 3)
    expected = filtered(other, "scale=320:240:flags=bicubic+accurate_rnd")
    assert np.abs(pictures[5:].astype(int) - expected.astype(int)).mean() <= LEVELS


@pytest.mark.parametrize("flags", [("-flags", "+ilme+ildct"), ("-flags", "+ilme+ildct", "-bf", "2")])
def test_interlaced_video_is_deinterlaced(tmp_path, flags):
    path = make_pattern(
        tmp_path / "v.mp4", "-vf", "tinterlace=mode=interleave_top,setfield=tff", *flags, fps=50
    )
    assert_same_pictures(path, f"bwdif=mode=send_frame,{EXACT}", levels=1.5)
    combed = filtered(path).astype(int)
    assert np.abs(shown(path).astype(int) - combed).mean() > 1.5


def test_progressive_video_is_not_deinterlaced(tmp_path):
    path = make_pattern(tmp_path / "v.mp4")
    smoothed = filtered(path, f"bwdif=mode=send_frame:deint=all,{EXACT}").astype(int)
    assert np.abs(shown(path).astype(int) - smoothed).mean() > 0.5


@pytest.mark.parametrize(
    ("matrix", "code"),
    [
        ("bt709", "bt709"),
        ("smpte170m", "smpte170m"),
        ("bt2020", "bt2020nc"),
        ("smpte240m", "smpte240m"),
        ("fcc", "fcc"),
    ],
)
@pytest.mark.parametrize("range_", ["tv", "pc"])
def test_matrix_and_range_are_those_of_the_tags(tmp_path, matrix, code, range_):
    path = make_pattern(
        tmp_path / "v.mp4",
        *("-vf", f"scale=out_color_matrix={matrix}:out_range={range_},format=yuv420p"),
        *("-colorspace", code, "-color_range", range_),
    )
    assert_same_pictures(path)


@pytest.mark.parametrize(
    ("size", "matrix"), [("320x240", "bt601"), ("1280x720", "bt709"), ("720x1280", "bt709")]
)
def test_an_untagged_video_is_bt709_from_720_lines_on(tmp_path, size, matrix):
    graph = f"scale=out_color_matrix={matrix},format=yuv420p"
    path = make_pattern(tmp_path / "v.mp4", "-vf", graph, "-colorspace", "unknown", size=size, seconds=0.12)
    assert_same_pictures(path, f"scale=in_color_matrix={matrix}:flags=accurate_rnd")


def test_rgb_video_keeps_its_pixels(tmp_path):
    path = make_pattern(tmp_path / "v.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp")
    np.testing.assert_array_equal(shown(path), filtered(path))


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_mapped_to_the_range_of_other_video(tmp_path, transfer):
    """Grey, that of paper in a picture made by the standards' own reference white of 203 cd/m2."""
    path = make_hdr(tmp_path / "hdr.mp4", transfer)
    assert shown(path).mean() == pytest.approx(128, abs=8)
    assert shown(path).std(axis=3).max() <= 2
    assert filtered(path).mean() != pytest.approx(128, abs=8)


@pytest.mark.parametrize("degrees", [0, 90])
@pytest.mark.parametrize("aspect", ["1", "4/3"])
def test_the_small_view_is_the_picture_at_a_small_size(tmp_path, degrees, aspect):
    graph = f"gblur=3,eq=saturation=0.4,setsar={aspect}"
    plain = make_pattern(tmp_path / "plain.mp4", "-vf", graph, "-colorspace", "bt709")
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, "-i", plain, "-c", "copy", path)
    for frame in decode(path):
        small, expected = frame.picture.small, whole_picture(frame.image).small
        assert small.shape == expected.shape
        # swscale rounds odd widths up by 1.4 levels; at even ones, pairs of neighbouring pixels share chroma.
        assert np.abs(small.astype(int) - expected).mean() < 3


def count_decoded_frames():
    # `isinstance` would ask other libraries' lazy objects for their class.
    return sum(type(one) is VideoFrame for one in gc.get_objects())


def test_decoded_frames_are_freed_at_once_without_the_garbage_collector(tmp_path):
    path = make_pattern(tmp_path / "pattern.mp4", seconds=2)
    gc.collect()
    before = count_decoded_frames()
    gc.disable()
    try:
        for number, frame in enumerate(decode(path)):
            assert frame.image.any()
            alive = count_decoded_frames() - before
            assert alive <= 8, f"{alive} after {number + 1} frames"
        assert number > 16
    finally:
        gc.enable()
