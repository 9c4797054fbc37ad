"""pyarrow's view of a store: on a local folder, and on a real S3 server that is killed and comes back."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyarrow.fs import FileSelector, FileType, copy_files

from preprocessing.storage import outage
from preprocessing.storage.object_store import Store
from tests.object_store import stoppable_s3


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def opened(request, tmp_path, monkeypatch):
    """The file system of an empty store, and its folder."""
    if request.param == "local":
        (tmp_path / "store").mkdir()
        return Store(f"file://{tmp_path}/store").arrow_file_system()
    variables = request.getfixturevalue("s3")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Store(f"{variables['LIA_STORE_URL']}/{request.node.originalname}").arrow_file_system()


def write(files, path, content):
    files.create_dir(path.rpartition("/")[0])
    with files.open_output_stream(path) as file:
        for start in range(0, len(content), 1000):
            file.write(content[start : start + 1000])


def read(files, path):
    with files.open_input_stream(path) as file:
        return file.read()


def test_files_are_read_as_they_were_written_and_listed(opened):
    files, root = opened
    for name, content in (("one", b"1" * 2500), ("folder/two", b"2"), ("folder/deep/three", b"")):
        write(files, f"{root}/a/{name}", content)
        assert read(files, f"{root}/a/{name}") == content
    with files.open_input_file(f"{root}/a/one") as file:
        assert file.size() == 2500
        file.seek(2499)
        assert file.read() == b"1"
    found = files.get_file_info(FileSelector(f"{root}/a", recursive=True))
    names = {info.path.partition("/a/")[2] for info in found if info.type == FileType.File}
    assert names == {"one", "folder/two", "folder/deep/three"}
    flat = files.get_file_info(FileSelector(f"{root}/a"))
    assert {(info.base_name, info.type) for info in flat} == {
        ("one", FileType.File),
        ("folder", FileType.Directory),
    }


def test_what_is_not_there_is_told_as_pyarrow_tells_it(opened):
    files, root = opened
    write(files, f"{root}/a/one", b"1")
    assert files.get_file_info(f"{root}/b").type == FileType.NotFound
    assert files.get_file_info(FileSelector(f"{root}/b", allow_not_found=True)) == []
    with pytest.raises(FileNotFoundError):
        files.get_file_info(FileSelector(f"{root}/b"))
    with pytest.raises(NotADirectoryError):
        files.get_file_info(FileSelector(f"{root}/a/one"))
    for path in ("b", "a"):
        with pytest.raises(FileNotFoundError):
            files.open_input_stream(f"{root}/{path}")


def test_files_and_folders_are_removed(opened):
    files, root = opened
    for name in ("one", "folder/two", "folder/deep/three"):
        write(files, f"{root}/a/{name}", b"1")
    files.delete_file(f"{root}/a/one")
    files.delete_dir(f"{root}/a/folder")
    assert not [info for info in files.get_file_info(FileSelector(root, recursive=True)) if info.is_file]


def test_a_file_whose_writer_failed_is_not_stored(opened, tmp_path):
    files, root = opened
    write(files, f"{root}/a/one", b"before")
    file = files.open_output_stream(f"{root}/a/one")
    file.write(b"half")
    # Collected without having been closed, as by a copy whose source fails.
    del file
    assert read(files, f"{root}/a/one") == b"before"


def test_another_process_gets_the_same_file_system(opened):
    files, root = opened
    write(files, f"{root}/a/one", b"1")
    again = pickle.loads(pickle.dumps(files))
    assert again == files
    assert read(again, f"{root}/a/one") == b"1"


@pytest.fixture
def server(monkeypatch):
    with stoppable_s3(monkeypatch) as server:
        yield server


@pytest.mark.slow
def test_a_killed_server_is_waited_for_by_every_operation(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(outage, "RETRY_S", 0.1)
    files, root = Store(server.variables["LIA_STORE_URL"]).arrow_file_system()
    for name in ("read", "removed", "copied/file", "folder/file"):
        write(files, f"{root}/a/{name}", b"1" * 5000)
    reader = files.open_input_file(f"{root}/a/read")
    writer = files.open_output_stream(f"{root}/a/written")
    writer.write(b"2" * 5000)
    (tmp_path / "copied").mkdir()
    (tmp_path / "given").write_bytes(b"4" * 5000)
    server.stop()
    with ThreadPoolExecutor() as pool:
        calls = {
            "info": lambda: files.get_file_info(f"{root}/a/read").size,
            "nothing": lambda: files.get_file_info(f"{root}/nothing").type,
            "list": lambda: len(files.get_file_info(FileSelector(f"{root}/a/copied"))),
            "read": lambda: reader.read(10),
            "open": lambda: read(files, f"{root}/a/read"),
            "close": writer.close,
            "put": lambda: files.handler.put_file(tmp_path / "given", f"{root}/b/put"),
            "write": lambda: write(files, f"{root}/b/new", b"3" * 5000),
            "remove": lambda: files.delete_file(f"{root}/a/removed"),
            "remove folder": lambda: files.delete_dir(f"{root}/a/folder"),
            "copy": lambda: copy_files(f"{root}/a/copied", str(tmp_path / "copied"), source_filesystem=files),
        }
        running = {name: pool.submit(call) for name, call in calls.items()}
        threading.Event().wait(3)
        assert not {name: future.exception() for name, future in running.items() if future.done()}
        server.start()
        results = {name: future.result(timeout=60) for name, future in running.items()}
    assert results["info"] == 5000
    assert results["nothing"] == FileType.NotFound
    assert results["list"] == 1
    assert results["read"] == b"1" * 10
    assert results["open"] == (tmp_path / "copied/file").read_bytes() == b"1" * 5000
    assert read(files, f"{root}/a/written") == b"2" * 5000
    assert read(files, f"{root}/b/new") == b"3" * 5000
    assert read(files, f"{root}/b/put") == b"4" * 5000
    for name in ("removed", "folder/file"):
        assert files.get_file_info(f"{root}/a/{name}").type == FileType.NotFound
    told = [line for line in caplog.messages if "the store is down" in line]
    assert any("EndpointConnectionError" in line for line in told)
    assert any(line.startswith("the store is back after") for line in caplog.messages)
