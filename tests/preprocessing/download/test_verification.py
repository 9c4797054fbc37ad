import hashlib

import pytest

from preprocessing.download.failures import TooLargeError
from preprocessing.download.verification import verify
from preprocessing.media.containers.packets import UnreadableVideoError


def test_a_whole_video_is_verified_with_its_facts(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", [50, 100] * 25, fps=25)
    download = verify(path, 10**9, downloader="copied", format_id="file")
    assert (download.status, download.error, download.file) == ("verified", None, "v.mp4")
    assert download.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert download.size_bytes == path.stat().st_size
    assert (download.width_px, download.height_px, download.fps) == (64, 48, 25.0)
    assert download.duration_s == pytest.approx(2.0)
    assert (download.downloader, download.format_id, download.acodec) == ("copied", "file", None)


def test_a_cut_off_video_is_retryable_and_removed(tmp_path, make_video):
    path = make_video(tmp_path / "v.mkv", [50, 100] * 100, fps=25)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    download = verify(path, 10**9, downloader="copied", format_id="file")
    assert (download.status, download.sha256) == ("retryable", None)
    assert "it ends 6.0 s earlier than its header says" in download.error
    assert not path.exists()


def test_a_file_above_the_limit_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(bytes(11))
    with pytest.raises(TooLargeError, match=r"got a file of 11 bytes; at most 10 are allowed"):
        verify(path, 10, downloader="copied", format_id="file")
    path.write_bytes(bytes(10))
    with pytest.raises(UnreadableVideoError):
        verify(path, 10, downloader="copied", format_id="file")
