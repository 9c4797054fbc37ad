import numpy as np
import pytest

from preprocessing.media.containers.packets import open_input, read_packets, video_stream
from preprocessing.media.containers.sample_table import read_sample_table
from tests.preprocessing.ffmpeg import ffmpeg

FILM = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=3")
SOUND = ("-f", "lavfi", "-i", "sine=duration=3")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", 25)
UNEVEN = ("-vf", "setpts='PTS+10/TB*gt(N,40)+0.013/TB*mod(N,3)'", "-fps_mode", "passthrough")
LISTED = {
    "plain.mp4": (*FILM, *H264),
    "header_first.mov": (*FILM, *H264, "-movflags", "+faststart"),
    "uneven.mp4": (*FILM, *UNEVEN, *H264),
    "negative_offsets.mp4": (*FILM, *H264, "-movflags", "+negative_cts_offsets"),
    "no_b_frames.mp4": (*FILM, *H264, "-bf", 0),
    "second_track.mp4": (*FILM, *SOUND, "-map", "1:a", "-map", "0:v", "-c:a", "aac", *H264),
    "same_sizes.mov": (*FILM, "-c:v", "rawvideo", "-pix_fmt", "uyvy422"),
}


def read_table(path):
    with open_input(path) as container:
        return read_sample_table(path, container, video_stream(container, path))


def check(path):
    """Compare the table with what reading the packets gives, and the bytes at each place with theirs."""
    table = read_table(path)
    data = path.read_bytes()
    packets = [one for one in read_packets(path) if one.size]
    pts = np.array([one.pts for one in packets])
    assert (table.pts - table.pts[0]).tolist() == (pts - pts[0]).tolist()
    assert table.dts.tolist() == [one.dts for one in packets]
    assert table.is_key.tolist() == [one.is_keyframe for one in packets]
    assert table.is_discarded.tolist() == [one.is_discard for one in packets]
    found = [data[place : place + size] for place, size in zip(table.places, table.sizes, strict=True)]
    assert found == [bytes(one) for one in packets]
    return table


@pytest.mark.parametrize("name", LISTED)
def test_the_table_says_what_the_packets_say(tmp_path, name):
    ffmpeg(*LISTED[name], tmp_path / name)
    assert len(check(tmp_path / name).pts) == 75


def test_pictures_hidden_by_an_edit_list_are_marked(tmp_path):
    ffmpeg(*FILM, *H264, tmp_path / "v.mp4")
    ffmpeg("-ss", 1.5, "-i", tmp_path / "v.mp4", "-c", "copy", tmp_path / "cut.mp4")
    assert check(tmp_path / "cut.mp4").is_discarded.any()


@pytest.mark.parametrize("name", ["v.mkv", "fragments.mp4"])
def test_a_file_without_such_a_header_has_no_table(tmp_path, name):
    ffmpeg(
        *FILM, *H264, *(("-movflags", "frag_keyframe+empty_moov") if "mp4" in name else ()), tmp_path / name
    )
    assert read_table(tmp_path / name) is None


def test_a_truncated_file_has_no_table(tmp_path):
    ffmpeg(*FILM, *H264, "-movflags", "+faststart", tmp_path / "v.mp4")
    whole = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "v.mp4").write_bytes(whole[:-1])
    assert read_table(tmp_path / "v.mp4") is None


def test_a_header_that_lists_fewer_times_than_packets_gives_no_table(tmp_path):
    ffmpeg(*FILM, *H264, tmp_path / "v.mp4")
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    place = data.index(b"ctts") + 8
    number = int.from_bytes(data[place : place + 4], "big")
    data[place : place + 4] = (number - 1).to_bytes(4, "big")
    (tmp_path / "v.mp4").write_bytes(data)
    assert read_table(tmp_path / "v.mp4") is None
