import pytest
from PIL import Image

from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.dynamic_range import is_hdr
from tests.preprocessing.ffmpeg import ffmpeg, make_hdr, make_pattern


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.hevc"])
@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_pq_and_hlg_are_found_in_any_container(tmp_path, name, transfer, tags):
    assert is_hdr(make_hdr(tmp_path / name, transfer, tags=tags))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-color_trc", "bt709"),
        ("-color_primaries", "bt2020", "-color_trc", "bt2020-10", "-pix_fmt", "yuv420p10le"),
    ],
)
def test_other_video_is_not_hdr_however_wide_its_colours(tmp_path, arguments):
    assert not is_hdr(make_pattern(tmp_path / "v.mp4", *arguments))


def test_what_has_no_video_track_is_not_hdr(tmp_path):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert not is_hdr(tmp_path / "a.gif")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / "a.wav")
    assert not is_hdr(tmp_path / "a.wav")


def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableVideoError, match="it is not a video"):
        is_hdr(tmp_path / "text.mp4")
