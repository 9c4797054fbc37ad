import shutil
from dataclasses import replace

from preprocessing.download.records.raw_folder import adopt_former, read_verified, remove_stale
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.conftest import download_alone


def test_only_verified_files_and_their_records_are_left(batch):
    raw, downloads, _ = batch
    good = [download.file for download in downloads.values() if download.status == DownloadStatus.VERIFIED]
    names = {path.name for path in raw.iterdir() if not path.name.endswith(".refused.json")}
    assert names == {*good, *(f"{name.split('.')[0]}.json" for name in good)}


def test_a_changed_file_is_downloaded_again(batch, tmp_path, server, download_settings, make_source):
    raw, downloads, _ = batch
    source = make_source(f"{server.url}/a/v.mp4")
    download = downloads[source.url]
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    content = (copy / download.file).read_bytes()
    (copy / download.file).write_bytes(content[:-1] + b"x")
    assert read_verified(copy, source.key, download.recipe) is None
    assert download_alone(source, download_settings, copy).download == download
    assert (copy / download.file).read_bytes() == content


def test_files_of_unlisted_sources_are_removed(batch, tmp_path, server, make_source):
    raw, downloads, _ = batch
    source, other = (make_source(f"{server.url}/{folder}/v.mp4") for folder in "ab")
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    kept = {download.file for url, download in downloads.items() if url != other.url}
    assert remove_stale(copy, {make_source(url).key for url in downloads} - {other.key}) == [
        f"{other.key}.json",
        f"{other.key}.mp4",
    ]
    assert {path.name for path in copy.iterdir() if path.suffix != ".json"} == kept - {None}
    assert read_verified(copy, source.key, downloads[source.url].recipe) == downloads[source.url]


def test_the_memory_of_a_failure_is_removed_with_its_source(batch, tmp_path, server, make_source):
    raw, _, _ = batch
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    key = make_source(f"{server.url}/none.mp4").key
    assert (copy / f"{key}.refused.json").is_file()
    assert f"{key}.refused.json" in remove_stale(copy, set())
    assert list(copy.iterdir()) == []


def test_a_video_stored_under_a_former_key_is_taken_over(batch, tmp_path, server, make_source):
    raw, downloads, _ = batch
    source = make_source(f"{server.url}/a/v.mp4")
    download = downloads[source.url]
    copy, key = tmp_path / "raw", "0" * 40
    shutil.copytree(raw, copy)
    assert adopt_former(copy, {source.key: key, "1" * 40: "2" * 40}) == [f"{key}.mp4"]
    assert read_verified(copy, key) == replace(download, file=f"{key}.mp4")
    assert not list(copy.glob(f"{source.key}*"))


def test_a_video_stored_under_its_current_key_stays(batch, tmp_path, server, make_source):
    raw, downloads, _ = batch
    source, other = (make_source(f"{server.url}/{folder}/v.mp4") for folder in "ab")
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    assert adopt_former(copy, {source.key: other.key}) == []
    assert read_verified(copy, other.key) == downloads[other.url]
