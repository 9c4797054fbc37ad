"""The store on a local folder and on a real S3 server."""

import json

import fsspec
import pytest

from preprocessing.storage.object_store import LIST_NAME, Store, StoreError
from preprocessing.storage.outage import StoreDownError, patiently
from tests.object_store import stoppable_s3
from tests.tapped_server import tapped


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path, monkeypatch):
    """An empty store."""
    if request.param == "local":
        return Store(f"file://{tmp_path}/store")
    variables = request.getfixturevalue("s3")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Store(f"{variables['LIA_STORE_URL']}/{request.node.originalname}")


@pytest.fixture
def files(tmp_path):
    """Two files, by their names in a bundle."""
    found = {"one.bin": tmp_path / "1", "train/two.bin": tmp_path / "2"}
    for number, path in enumerate(found.values()):
        path.write_bytes(bytes([number]) * 100_000)
    return found


def fetched(store, bundle, folder):
    """Bring a bundle to `folder`; return whether there was one, and what is in the folder."""
    is_there = store.get(bundle, lambda name: folder / name)
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return is_there, {name: path.read_bytes() for name, path in found.items()}


def test_a_bundle_is_downloaded_as_it_was_uploaded(store, files, tmp_path):
    store.put("raw/a", files)
    store.put("raw/b", {"one.bin": files["one.bin"]})
    assert store.names("raw") == ["a", "b"]
    assert fetched(store, "raw/a", tmp_path / "back") == (
        True,
        {name: path.read_bytes() for name, path in files.items()},
    )


def test_an_absent_bundle_downloads_nothing(store, tmp_path):
    assert store.names("raw") == []
    assert fetched(store, "raw/none", tmp_path / "back") == (False, {})
    store.remove("raw/none")


def test_a_second_upload_replaces_the_bundle(store, files, tmp_path):
    store.put("raw/a", files)
    files["one.bin"].write_bytes(b"new")
    store.put("raw/a", {"one.bin": files["one.bin"]})
    assert fetched(store, "raw/a", tmp_path / "back") == (True, {"one.bin": b"new"})
    assert not store._fs.exists(store._full("raw/a/train/two.bin"))


def test_files_in_the_store_are_not_uploaded_again(store, files, monkeypatch):
    store.put("raw/a", files)
    sent = []
    put_file = store._fs.put_file
    monkeypatch.setattr(store._fs, "put_file", lambda here, there: (sent.append(here), put_file(here, there)))
    store.put("raw/a", files)
    assert sent == []
    files["train/two.bin"].write_bytes(b"new")
    store.put("raw/a", files)
    assert sent == [str(files["train/two.bin"])]


@pytest.mark.parametrize("wrong", [b"half", None], ids=["half", "gone"])
def test_a_bundle_that_does_not_match_its_list_counts_as_absent(store, files, tmp_path, wrong):
    store.put("raw/a", files)
    path = store._full("raw/a/train/two.bin")
    if wrong is None:
        store._fs.rm_file(path)
    else:
        store._fs.pipe_file(path, wrong)
    is_there, found = fetched(store, "raw/a", tmp_path / "back")
    assert not is_there
    assert "train/two.bin" not in found
    # Put again by a machine that has them, it is whole again.
    store.put("raw/a", files)
    assert fetched(store, "raw/a", tmp_path / "again")[0]


def test_a_partly_written_bundle_counts_as_absent(store, files, tmp_path):
    for name, path in files.items():
        store._fs.makedirs(store._full("raw/a/train"), exist_ok=True)
        store._fs.put_file(str(path), store._full(f"raw/a/{name}"))
    assert fetched(store, "raw/a", tmp_path / "back") == (False, {})


def test_a_removed_bundle_is_gone(store, files, tmp_path):
    store.put("raw/a", files)
    store.put("raw/b", files)
    store.remove("raw/a")
    # Some servers list an emptied folder a little longer.
    assert not any(store._fs.exists(store._full(f"raw/a/{name}")) for name in (*files, LIST_NAME))
    assert "b" in store.names("raw")
    assert fetched(store, "raw/a", tmp_path / "back") == (False, {})


def test_the_list_is_readable_by_other_programs(store, files):
    store.put("raw/a", files)
    assert set(json.loads(store._fs.cat_file(store._full(f"raw/a/{LIST_NAME}")))) == set(files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"LIA_STORE_URL": "s3://no-such-bucket/project"}]
)
def test_a_refusing_store_is_reported_in_one_line(s3, files, monkeypatch, changes):
    for name, value in (s3 | changes).items():
        monkeypatch.setenv(name, value)
    # fsspec keeps what it has connected, by its address alone.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    refusing = Store((s3 | changes)["LIA_STORE_URL"])
    with pytest.raises(StoreError, match=r"from LIA_STORE_URL s3://.*; correct it and its") as raised:
        refusing.put("raw/a", files)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_store_that_goes_down_when_its_bucket_is_looked_for_is_waited_for(monkeypatch, files, tmp_path):
    with stoppable_s3(monkeypatch) as server, tapped(server.port, b"HEAD /lia ", server.stop) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay)
        store = Store("s3://lia/project")
        with pytest.raises(StoreError) as raised:
            store.put("raw/a", files)
        assert "no bucket" not in str(raised.value)
        with pytest.raises(StoreDownError):
            patiently(lambda: store.put("raw/a", files), "files", patience_s=0)
        server.start()
        store.put("raw/a", files)
        assert fetched(store, "raw/a", tmp_path / "back")[0]


def test_an_unknown_protocol_is_reported_in_one_line():
    with pytest.raises(StoreError, match="from LIA_STORE_URL nowhere://a; a store that can be read"):
        Store("nowhere://a")


@pytest.mark.slow
def test_old_versions_in_a_versioned_bucket_are_removed(s3, tmp_path, monkeypatch, files):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    client = fsspec.filesystem("s3", skip_instance_cache=True)
    client.mkdir("versions")
    client.make_bucket_versioned("versions")
    store = Store("s3://versions/project")
    assert store.keeps_old_versions()
    for bundle in ("raw/a", "raw/b"):
        store.put(bundle, files)
        files["one.bin"].write_bytes(bundle.encode())
        store.put(bundle, files)
    store.remove("raw/a")
    assert store.remove_old_versions("raw/a") >= 4

    def versions(prefix):
        page = client.call_s3("list_object_versions", Bucket="versions", Prefix=f"project/{prefix}")
        return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]

    assert versions("raw/a") == []
    assert len(versions("raw/b")) > len(files) + 1
    assert store.remove_old_versions("raw/b") > 0
    assert fetched(store, "raw/b", tmp_path / "back")[0]


def test_a_store_without_versions_keeps_none(store):
    assert not store.keeps_old_versions()
