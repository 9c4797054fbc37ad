from preprocessing.clips.thumbnails import read_thumbnails, write_thumbnails


def test_pictures_come_back_by_their_key_in_order(tmp_path):
    many = [bytes([number]) for number in range(12)]
    write_thumbnails(tmp_path / "p.zip", {"a": many, "ab": [b"other"], "none": []})
    assert read_thumbnails(tmp_path / "p.zip", "a") == many
    assert read_thumbnails(tmp_path / "p.zip", "ab") == [b"other"]
    assert read_thumbnails(tmp_path / "p.zip", "none") == read_thumbnails(tmp_path / "absent.zip", "a") == []


def test_equal_pictures_give_equal_bytes(tmp_path):
    write_thumbnails(tmp_path / "one.zip", {"a": [b"x"], "b": [b"y", b"z"]})
    write_thumbnails(tmp_path / "other.zip", {"b": [b"y", b"z"], "a": [b"x"]})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
