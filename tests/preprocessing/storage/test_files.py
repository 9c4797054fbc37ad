import errno
import subprocess
import sys
import threading

import pytest

from preprocessing.storage import files
from preprocessing.storage.files import file_sha256, is_disk_error, write_atomically, write_folder_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "notes.txt"
    with write_atomically(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "new"
    assert names(target.parent) == ["notes.txt"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "notes.txt"
    target.write_text("old")

    def fail():
        with write_atomically(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["notes.txt"]


def test_concurrent_writers_of_one_file_do_not_mix(tmp_path):
    target = tmp_path / "notes.txt"
    with write_atomically(target) as first, write_atomically(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path):
    target = tmp_path / ("n" * 251 + ".txt")
    with write_atomically(target) as temporary:
        temporary.write_text("long")
    assert target.read_text() == "long"


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "stale").write_text("old")
    with write_folder_atomically(folder) as temporary:
        (temporary / "fresh").write_text("new")
        assert names(folder) == ["stale"]
    assert names(folder) == ["fresh"]
    assert names(tmp_path) == ["out"]


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(tmp_path):
    program = (
        "import os, pathlib, sys; from preprocessing.storage.files import write_folder_atomically\n"
        "with write_folder_atomically(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")], check=False)
    assert len(names(tmp_path)) == 1
    with write_folder_atomically(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_without_an_exchange_of_folders_the_old_one_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    folder = tmp_path / "out"
    for content in ("old", "new"):
        with write_folder_atomically(folder) as temporary:
            (temporary / "file").write_text(content)
    assert (folder / "file").read_text() == "new"
    # What a process leaves that is killed between the two renames.
    folder.rename(tmp_path / ".out.previous")

    def fail():
        with write_folder_atomically(folder):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (folder / "file").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_reader_finds_the_old_or_the_new_folder_at_any_time(tmp_path):
    """In between it is never missing: the names are exchanged in one call."""
    folder = tmp_path / "out"
    with write_folder_atomically(folder) as temporary:
        (temporary / "file").write_text("0")
    is_done, missing = threading.Event(), []

    def watch():
        while not is_done.is_set():
            if not (folder / "file").exists():
                missing.append(True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(300):
        with write_folder_atomically(folder) as temporary:
            (temporary / "file").write_text(str(number))
    is_done.set()
    watcher.join()
    assert missing == []


def test_a_folder_that_could_not_be_written_keeps_its_content(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "kept").write_text("old")

    def fail():
        with write_folder_atomically(folder) as temporary:
            (temporary / "fresh").write_text("half")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert names(folder) == ["kept"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_disk_errors_are_distinguished_from_others(code):
    assert is_disk_error(OSError(code, "no"))
    assert not is_disk_error(OSError(errno.ENOENT, "no"))
    assert not is_disk_error(ValueError("no"))


def test_a_hash_is_of_the_bytes(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert file_sha256(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
