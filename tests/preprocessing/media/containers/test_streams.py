import pytest

from preprocessing.media.containers.packets import UnreadableVideoError, open_input
from preprocessing.media.containers.streams import heard_stream
from preprocessing.media.video_reader import decode, probe
from tests.preprocessing.ffmpeg import ffmpeg, make_pattern


@pytest.fixture
def film(tmp_path):
    return make_pattern(tmp_path / "film.mp4", size="320x240")


@pytest.fixture
def small(tmp_path):
    return make_pattern(tmp_path / "small.mp4", size="96x64")


@pytest.fixture
def cover(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=600x600", "-frames:v", "1", tmp_path / "cover.jpg")
    return tmp_path / "cover.jpg"


def join(path, *inputs, options=()):
    sources = [part for one in inputs for part in ("-i", one)]
    maps = [part for number in range(len(inputs)) for part in ("-map", number)]
    ffmpeg(*sources, *maps, "-c", "copy", *options, path)
    return path


def size(path):
    info = probe(path)
    assert next(decode(path)).image.shape[:2] == (info.height_px, info.width_px)
    return info.width_px, info.height_px


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_several_videos_the_default_one_is_watched(tmp_path, film, small, suffix):
    options = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    assert size(join(tmp_path / f"a.{suffix}", small, film, options=options)) == (320, 240)
    assert size(join(tmp_path / f"b.{suffix}", film, small, options=options)) == (96, 64)


@pytest.mark.parametrize("disposition", ["0", "default"])
def test_of_several_videos_of_one_rank_the_largest_is_watched(tmp_path, film, small, disposition):
    options = ("-disposition:v:0", disposition, "-disposition:v:1", disposition)
    assert size(join(tmp_path / "v.mkv", small, film, options=options)) == (320, 240)


@pytest.mark.parametrize("disposition", ["attached_pic", "0", "default"])
def test_a_cover_is_never_the_video(tmp_path, film, cover, disposition):
    path = join(tmp_path / "v.mkv", cover, film, options=("-disposition:v:0", disposition))
    assert size(path) == (320, 240)


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "mp3"])
def test_sound_with_a_cover_is_refused_as_sound(tmp_path, cover, suffix):
    path = tmp_path / f"song.{suffix}"
    codec = "mp3" if suffix == "mp3" else "aac"
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1"),
        *("-c:a", codec, "-c:v", "copy", "-disposition:v:0", "attached_pic", path),
    )
    with pytest.raises(UnreadableVideoError, match="sound and no video track"):
        probe(path)


def test_motion_jpeg_is_video(tmp_path):
    path = make_pattern(tmp_path / "v.avi", "-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p")
    assert size(path) == (320, 240)
    assert probe(path).num_frames == 10


def test_the_first_sound_that_can_be_decoded_is_heard(tmp_path, film):
    path = tmp_path / "v.mov"
    ffmpeg(
        *("-i", film, "-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "sine=440:duration=1"),
        *(
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-c:v",
            "copy",
            "-c:a:0",
            "pcm_s16le",
            "-c:a:1",
            "aac",
            path,
        ),
    )
    # The name of the first codec becomes one that nobody knows.
    path.write_bytes(path.read_bytes().replace(b"sowt", b"xxxx"))
    with open_input(path) as container:
        heard = heard_stream(container)
        assert heard is not None
        assert heard.codec_context.name == "aac"
