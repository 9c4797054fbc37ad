import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.demo.samples import serve_folder

CONTENT = bytes(range(256)) * 10


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "clip.mp4").write_bytes(CONTENT)
    with serve_folder(tmp_path, "127.0.0.1", 0) as base:
        yield f"{base}/clip.mp4"


def get(url: str, span: str | None = None) -> tuple[int, bytes, str | None]:
    request = urllib.request.Request(url, headers={"Range": span} if span else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.read(), answer.headers["Content-Range"]


def test_a_file_comes_whole(url: str) -> None:
    assert get(url) == (200, CONTENT, None)


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=2000-", 2000, 2559),
        ("bytes=-10", 2550, 2559),
        ("bytes=2550-9999", 2550, 2559),
    ],
)
def test_a_range_comes_as_asked(url: str, span: str, first: int, last: int) -> None:
    assert get(url, span) == (206, CONTENT[first : last + 1], f"bytes {first}-{last}/2560")


def test_a_range_behind_the_end_is_refused(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="416") as caught:
        get(url, "bytes=2560-")
    caught.value.close()


def test_nothing_outside_the_folder_is_served(url: str, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        get(url.replace("clip.mp4", "%2e%2e/secret"))
    caught.value.close()


def test_the_server_is_gone_afterwards(tmp_path: Path) -> None:
    before = threading.active_count()
    with serve_folder(tmp_path, "127.0.0.1", 0) as base:
        pass
    assert threading.active_count() == before
    with pytest.raises(urllib.error.URLError):
        get(base)
