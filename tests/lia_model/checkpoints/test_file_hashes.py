import pytest

from lia_model.checkpoints.file_hashes import HASHES, verify_hashes, write_hashes


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "released").mkdir()
    (tmp_path / "a").write_bytes(b"weights")
    (tmp_path / "released/b").write_bytes(b"more weights")
    write_hashes(tmp_path)
    return tmp_path


def test_what_was_written_passes(checkpoint):
    verify_hashes(checkpoint)


def test_a_checkpoint_without_hashes_passes(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    verify_hashes(tmp_path)


@pytest.mark.parametrize("content", [b"weightz", b"weigh", b"", None])
@pytest.mark.parametrize("name", ["a", "released/b"])
def test_a_changed_a_short_and_a_missing_file_are_named(checkpoint, name, content):
    if content is None:
        (checkpoint / name).unlink()
    else:
        (checkpoint / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not the file that training wrote \(1 files"):
        verify_hashes(checkpoint)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"a": {}}}'])
def test_damaged_hashes_are_named(checkpoint, content):
    (checkpoint / HASHES).write_text(content)
    with pytest.raises(ValueError, match=f"{HASHES} is not the file that training wrote"):
        verify_hashes(checkpoint)
