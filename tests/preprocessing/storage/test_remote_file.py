import base64
import hashlib
import sys

import fsspec
import pytest

from preprocessing.storage.remote_file import RemoteFileError, copy_remote, stated_hash

CONTENT = b"abc" * 1000


class Stated(fsspec.get_filesystem_class("memory")):
    """Files in memory that state a hash, as Google's storage does."""

    md5 = hashlib.md5(CONTENT)

    def info(self, path, **options):
        return super().info(path, **options) | {"md5Hash": base64.b64encode(self.md5.digest()).decode()}


@pytest.fixture
def stated(monkeypatch):
    # The name of the module is hidden by that of a variable.
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Stated)
    files = Stated(skip_instance_cache=True)
    files.pipe_file("/lia/v.mp4", CONTENT)
    files.makedirs("/lia/folder", exist_ok=True)
    yield files
    files.rm("/lia", recursive=True)


def cause_of(url, path):
    """Return why a file is not copied."""
    with pytest.raises(RemoteFileError) as caught:
        copy_remote(url, path, ignore)
    return str(caught.value.__cause__)


def ignore(num_bytes):
    del num_bytes


def test_a_copy_with_the_stated_hash_is_kept_and_another_one_is_not(stated, tmp_path, monkeypatch):
    copy_remote("gs://lia/v.mp4", tmp_path / "good", ignore)
    assert (tmp_path / "good").read_bytes() == CONTENT
    monkeypatch.setattr(Stated, "md5", hashlib.md5(b"other"))
    assert "another md5" in cause_of("gs://lia/v.mp4", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_a_folder_and_a_missing_file_are_told(stated, tmp_path):
    assert "a folder" in cause_of("gs://lia/folder", tmp_path / "x")
    assert "no such file" in cause_of("gs://lia/none", tmp_path / "x")


def test_the_size_is_asked_about_before_and_while_copying(stated, tmp_path):
    asked = []
    copy_remote("gs://lia/v.mp4", tmp_path / "x", asked.append)
    assert asked == [len(CONTENT), len(CONTENT)]


def test_hashes_are_read_in_the_stores_own_forms():
    digest = hashlib.sha256(b"x")
    assert stated_hash({"lfs": {"sha256": digest.hexdigest()}}) == ("sha256", digest.hexdigest())
    md5 = hashlib.md5(b"x")
    assert stated_hash({"md5Hash": base64.b64encode(md5.digest()).decode()}) == ("md5", md5.hexdigest())
    assert stated_hash({"ETag": '"0123"', "lfs": None}) is None
