"""Sources on a real S3 server."""

import importlib.util

import fsspec
import pytest

from preprocessing.download.remote_files import status_of
from preprocessing.download.run import download_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.storage.remote_file import PACKAGES, OtherContentError
from tests.preprocessing.conftest import download_alone

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(s3, monkeypatch):
    """Function that stores an object and returns its address."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)

    def put(name, content):
        files.pipe_file(f"lia/{name}", content)
        return f"s3://lia/{name}"

    return put


@pytest.fixture
def video(tmp_path, make_video):
    return make_video(tmp_path / "v.mp4", range(20, 220, 4)).read_bytes()


@pytest.fixture
def fetch(tmp_path, make_source, download_settings):
    def fetch(url, **changes):
        settings = download_settings.model_copy(update=changes)
        return download_alone(make_source(url), settings, tmp_path / "raw").download

    return fetch


def test_an_object_is_copied_verified_and_not_asked_for_again(bucket, video, fetch, tmp_path, monkeypatch):
    url = bucket("films/A film #1?.mp4", video)
    found = fetch(url)
    assert (found.status, found.downloader.split()[0], found.format_id) == ("verified", "s3fs", "file")
    assert (tmp_path / "raw" / found.file).read_bytes() == video
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert fetch(url) == found
    (tmp_path / "raw" / found.file).write_bytes(video + b"damage")
    assert fetch(url).status == DownloadStatus.RETRYABLE


def test_what_cannot_succeed_is_permanent_and_says_why(bucket, video, fetch, make_sound, tmp_path):
    assert "there is no such file" in fetch("s3://lia/none.mp4").error
    assert "there is no such file" in fetch("s3://nobody/none.mp4").error
    large = fetch(bucket("large.mp4", video), max_bytes=len(video) - 1)
    assert "raise download.max_bytes" in large.error
    cut = fetch(bucket("cut.mp4", video[: len(video) // 2]))
    sound = fetch(bucket("sound.m4a", make_sound(tmp_path / "s.m4a").read_bytes()))
    assert "no video" in sound.error
    assert {one.status for one in (large, cut, sound)} == {DownloadStatus.PERMANENT}


def test_wrong_credentials_are_a_matter_of_this_machine(bucket, video, fetch, monkeypatch):
    url = bucket("v.mp4", video)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = fetch(url)
    assert (refused.status, "credentials" in refused.error) == (DownloadStatus.ENVIRONMENT, True)
    assert "wrong" not in refused.error


def test_a_name_with_colons_reaches_no_other_file_system(bucket, video, fetch, tmp_path):
    (tmp_path / "v.mp4").write_bytes(video)
    refused = fetch(f"s3://lia/x::file://{tmp_path}/v.mp4")
    assert (refused.status, "there is no such file" in refused.error) == (DownloadStatus.PERMANENT, True)


def test_buckets_and_other_hosts_are_listed_together(bucket, video, make_source, download_settings, tmp_path):
    urls = [bucket(f"{number}.mp4", video + bytes(number)) for number in range(3)]
    sources = [make_source(url) for url in [*urls, "http://127.0.0.1:1/v.mp4"]]
    found = download_sources(sources, download_settings, tmp_path / "raw", lambda *words: None)
    assert [one.status.value for one in found.values()] == ["verified"] * 3 + ["retryable"]


@pytest.mark.parametrize("scheme", ["gs", "hf"])
def test_a_scheme_whose_package_is_missing_says_what_to_install(fetch, scheme):
    package = PACKAGES[scheme]
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    found = fetch(f"{scheme}://datasets/v.mp4")
    assert (found.status, f"pip install {package}" in found.error) == (DownloadStatus.ENVIRONMENT, True)


def test_an_error_of_an_unknown_kind_may_pass():
    assert status_of(OtherContentError("another md5")) == DownloadStatus.RETRYABLE
    assert status_of(RuntimeError("connection lost")) == DownloadStatus.RETRYABLE
