import pytest

from pipelines.commands.takedown import _files, _pages, find_videos
from preprocessing.ledger import ClipRow, Download, SourceRow, write_clips, write_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, source_key


def source(number, **fields):
    url = f"https://a.example/{number}.mp4"
    return Source(url=url, key=source_key(url), **fields)


LISTED = [source(1, identity="ann"), source(2, source_id="two"), source(3, identity="ann")]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("HTTPS://A.example:443/1.mp4#t=3", [1]),
        (LISTED[1].key, [2]),
        ("two", [2]),
        ("ann", [1, 3]),
    ],
)
def test_a_url_key_id_or_identity_stands_for_its_videos(tmp_path, name, numbers):
    expected = {LISTED[number - 1].key: LISTED[number - 1].url for number in numbers}
    assert find_videos(name, LISTED, tmp_path) == expected


def test_videos_that_only_the_ledger_knows_are_found(tmp_path):
    unlisted, shown = source(8, source_id="old"), source(9)
    rows = [SourceRow(one, Download(status=DownloadStatus.VERIFIED)) for one in (unlisted, shown)]
    write_sources(tmp_path / "sources.parquet", rows)
    clip = ClipRow(
        key="c", row_key="r", source_key=shown.key, url=shown.url, outcome="kept", identity="person-1"
    )
    write_clips(tmp_path / "clips.parquet", [clip])
    assert find_videos("old", LISTED, tmp_path) == {unlisted.key: unlisted.url}
    assert find_videos("person-1", LISTED, tmp_path) == {shown.key: shown.url}


def test_a_key_that_nothing_knows_may_still_have_copies(tmp_path):
    assert find_videos("0" * 40, LISTED, tmp_path) == {"0" * 40: ""}


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 'nobody', which is no source_id or identity"):
        find_videos("nobody", LISTED, tmp_path)


def test_only_files_and_pages_that_show_the_videos_are_found(tmp_path):
    key, other = (one.key for one in LISTED[:2])
    for name in (f"{key}.mp4", f"{key}-whole.npz", f"{other}.mp4", "hosts.json"):
        (tmp_path / name).touch()
    (tmp_path / "a.html").write_text(f'<img id="{key}">')
    (tmp_path / "b.html").write_text(f'<img id="{other}">')
    files = _files([tmp_path, tmp_path / "missing"], {key})
    assert sorted(path.name for path in files) == sorted([f"{key}-whole.npz", f"{key}.mp4"])
    pages = [tmp_path / name for name in ("a.html", "b.html", "c.html")]
    assert list(_pages(pages, {key})) == pages[:1]
