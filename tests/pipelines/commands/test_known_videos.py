import hashlib

import pytest

from pipelines.commands.known_videos import find_videos, known_sources, spelled_keys, usual_keys
from preprocessing.ledger import ClipRow, Download, SourceRow, write_clips, write_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, source_key

WATCH, SHORT = "https://www.youtube.com/watch?v=dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcQ"
UNKNOWN = "https://b.example/other.webm"


def sha1(text):
    return hashlib.sha1(text.encode()).hexdigest()


def source(number, **fields):
    url = f"https://a.example/{number}.mp4"
    return Source(url=url, key=source_key(url), **fields)


LISTED = [
    source(1, identity="ann"),
    source(2, source_id="two"),
    source(3, identity="ann"),
    Source(url=SHORT, key=sha1(SHORT)),
]
"""The last one with the key that an earlier version gave it."""


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("HTTPS://A.example:443/1.mp4#t=3", [1]),
        ("https://a.example/1.mp4?utm_source=x", [1]),
        (LISTED[1].key, [2]),
        ("two", [2]),
        ("ann", [1, 3]),
        (f"{WATCH}&t=3", [4]),
        (source_key(WATCH), [4]),
        (sha1(SHORT), [4]),
    ],
)
def test_a_url_key_id_or_identity_stands_for_its_videos(name, numbers):
    expected = {source_key(LISTED[number - 1].url): LISTED[number - 1].url for number in numbers}
    assert find_videos(name, LISTED) == expected


def test_videos_that_only_the_ledger_knows_are_found(tmp_path):
    unlisted, shown = source(8, source_id="old"), source(9)
    rows = [SourceRow(one, Download(status=DownloadStatus.VERIFIED)) for one in (unlisted, shown)]
    write_sources(tmp_path / "sources.parquet", rows)
    clip = ClipRow(
        key="c", row_key="r", source_key=shown.key, url=shown.url, outcome="kept", identity="person-1"
    )
    write_clips(tmp_path / "clips.parquet", [clip])
    known = known_sources(LISTED, tmp_path)
    assert find_videos("old", known) == {unlisted.key: unlisted.url}
    assert find_videos("person-1", known) == {shown.key: shown.url}


@pytest.mark.parametrize("name", [UNKNOWN, "0" * 40, "nobody"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(
        ValueError, match=f"got '{name}', which is no URL, key, source_id or identity"
    ) as told:
        find_videos(name, LISTED)
    assert ("--even-if-unknown" in str(told.value)) == (name != "nobody")


@pytest.mark.parametrize(
    ("name", "near"), [("Anne", "ann"), ("tow", "two"), ("https://a.example/2.mp", "https://a.example/2.mp4")]
)
def test_names_near_an_unknown_one_are_suggested(name, near):
    with pytest.raises(ValueError, match=f"near it: .*{near}"):
        find_videos(name, LISTED)


def test_what_is_unknown_may_be_asked_for_by_url_or_key_alone():
    assert find_videos("0" * 40, LISTED, even_if_unknown=True) == {"0" * 40: ""}
    assert find_videos(f"{UNKNOWN}#t", LISTED, even_if_unknown=True) == {source_key(UNKNOWN): UNKNOWN}
    with pytest.raises(ValueError, match="got 'nobody'"):
        find_videos("nobody", LISTED, even_if_unknown=True)


def test_what_was_taken_down_before_is_known():
    assert find_videos("0" * 40, LISTED, {"0" * 40}) == {"0" * 40: ""}
    assert find_videos(UNKNOWN, LISTED, {source_key(UNKNOWN)}) == {source_key(UNKNOWN): UNKNOWN}


def test_all_spellings_and_their_former_keys_belong_to_a_video():
    name = f"{WATCH}&t=3"
    videos = find_videos(name, LISTED)
    assert spelled_keys(name, videos, LISTED) == {sha1(name), sha1(SHORT)}
    assert spelled_keys("two", find_videos("two", LISTED), LISTED) == set()
    assert sha1("https://m.youtube.com/watch?v=dQw4w9WgXcQ") in usual_keys(videos.values())
    assert usual_keys([""]) == set()
