"""Videos in a store, whose records alone are in the folder of raw videos."""

import shutil
from dataclasses import replace

import pytest

from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.raw_folder import read_record, upload, write_record
from preprocessing.download.records.stored_videos import adopt_stored, find_stored, keep_record
from preprocessing.sources.source import Source, source_key
from preprocessing.storage.exchange import fetch_video, video_bundle
from preprocessing.storage.object_store import Store
from tests.preprocessing.conftest import download_alone


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory, make_video, download_settings):
    """A folder of raw videos with one video, its source, record and recipe."""
    folder = tmp_path_factory.mktemp("downloaded")
    video = make_video(folder / "v.mp4", range(20, 60, 4))
    source = Source(url=video.as_uri(), key=source_key(video.as_uri()))
    settings = download_settings.model_copy(update={"local_root": folder})
    record = download_alone(source, settings, folder / "raw").download
    return folder / "raw", source, record, file_recipe(source.url, settings)


@pytest.fixture
def raw(downloaded, tmp_path):
    return shutil.copytree(downloaded[0], tmp_path / "raw")


@pytest.fixture
def store(tmp_path):
    return Store(f"file://{tmp_path}/store")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lose_content(store, key):
    """Leave the store's list and record of a video without the video."""
    (name,) = store.listed(video_bundle(key)).keys() - {f"{key}.json"}
    store._fs.rm_file(store._full(f"{video_bundle(key)}/{name}"))


def test_a_video_of_this_machine_moves_to_the_store(raw, store, downloaded, tmp_path):
    _, source, record, recipe = downloaded
    assert find_stored(raw, source.key, recipe, store) == record
    assert names(raw) == [f"{source.key}.json"]
    assert fetch_video(store, source.key, tmp_path / "other")
    assert (tmp_path / "other" / record.file).read_bytes() == (downloaded[0] / record.file).read_bytes()


def test_a_video_is_known_by_its_record_and_the_list_without_its_content(raw, store, downloaded):
    _, source, record, recipe = downloaded
    find_stored(raw, source.key, recipe, store)
    lose_content(store, source.key)
    assert find_stored(raw, source.key, recipe, store) == record
    (raw / f"{source.key}.json").unlink()
    assert find_stored(raw, source.key, recipe, store) == record
    assert names(raw) == [f"{source.key}.json"]


def test_a_record_of_what_the_store_lacks_or_has_otherwise_is_no_video(raw, store, downloaded):
    _, source, record, recipe = downloaded
    (raw / record.file).unlink()
    assert find_stored(raw, source.key, recipe, store) is None
    (raw / record.file).write_bytes(b"another")
    upload(raw, source.key, record, store)
    assert find_stored(raw, source.key, recipe, store) is None


def test_a_video_of_another_recipe_is_no_video(raw, store, downloaded):
    _, source, _, recipe = downloaded
    find_stored(raw, source.key, recipe, store)
    assert find_stored(raw, source.key, "another", store) is None
    (raw / f"{source.key}.json").unlink()
    assert find_stored(raw, source.key, "another", store) is None
    assert names(raw) == []


def test_a_new_record_replaces_all_that_is_there_of_the_source(raw, downloaded):
    _, source, record, _ = downloaded
    (raw / f"{source.key}.refused.json").write_text("{}")
    keep_record(raw, source.key, replace(record, file=f"{source.key}.webm"))
    assert names(raw) == [f"{source.key}.json"]


def test_a_stored_video_is_taken_over_under_its_current_key(raw, store, downloaded):
    _, source, record, recipe = downloaded
    find_stored(raw, source.key, recipe, store)
    key = "0" * 40
    assert adopt_stored(raw, {source.key: key, "1" * 40: "2" * 40}, store) == [f"{key}.mp4"]
    renamed = replace(record, file=f"{key}.mp4")
    assert (names(raw), read_record(raw, key)) == ([f"{key}.json"], renamed)
    assert find_stored(raw, key, recipe, store) == renamed
    assert store.names("raw") == [key]


def test_a_video_that_is_stored_under_its_current_key_stays(raw, store, downloaded):
    _, source, record, recipe = downloaded
    find_stored(raw, source.key, recipe, store)
    write_record(raw, "0" * 40, record)
    assert adopt_stored(raw, {source.key: "0" * 40}, store) == []
    assert store.names("raw") == [source.key]
