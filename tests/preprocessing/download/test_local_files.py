from PIL import Image

from tests.preprocessing.conftest import download_alone


def write_picture(path):
    path.parent.mkdir()
    Image.new("RGB", (64, 48)).save(path)


def test_local_files_are_copied_only_from_below_the_root(
    tmp_path, make_video, make_sound, make_source, download_settings
):
    root = tmp_path / "films"
    (root / "below").mkdir(parents=True)
    good = make_video(root / "below" / "a b.mp4", [90] * 8)
    outside = make_video(tmp_path / "outside.mp4", [90] * 8)
    (root / "link.mp4").symlink_to(outside)
    make_sound(root / "sound.m4a")
    (root / "empty.mp4").touch()
    allowed = download_settings.model_copy(update={"local_root": root})

    def fetch(path, settings=allowed):
        return download_alone(make_source(path.as_uri()), settings, tmp_path / "raw").download

    found = fetch(good)
    assert (found.status, found.downloader, found.width_px) == ("verified", "copied", 64)
    copy = tmp_path / "raw" / found.file
    assert copy.read_bytes() == good.read_bytes()
    assert not copy.samefile(good)
    for path in (outside, root / "link.mp4", root / ".." / "outside.mp4"):
        refused = fetch(path)
        assert (refused.status, "download.local_root" in refused.error) == ("permanent", True)
    assert "not set" in fetch(outside, download_settings).error
    write_picture(root / "pictures/0000000.png")
    packed = fetch(root / "pictures")
    assert (packed.status, packed.downloader, packed.vcodec) == ("verified", "packed", "png")
    (root / "empty").mkdir()
    for path in (root / "none.mp4", root / "empty", root / "sound.m4a", root / "empty.mp4"):
        assert fetch(path).status == "permanent", path
    small = allowed.model_copy(update={"max_bytes": 10})
    (tmp_path / "raw" / found.file).unlink()
    assert "raise download.max_bytes" in fetch(good, small).error
