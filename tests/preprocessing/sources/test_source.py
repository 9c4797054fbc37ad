import hashlib
from dataclasses import replace

import pytest

from preprocessing.sources.source import (
    Source,
    canonical_url,
    former_keys,
    plain_url,
    source_key,
    with_box_width,
)


@pytest.mark.parametrize(
    "spelling", ["HTTP://Example.org:80/a/v.mp4?x=1#t=3", " http://example.org/a/v.mp4?x=1 "]
)
def test_spellings_of_one_address_share_a_key(spelling):
    assert source_key(spelling) == source_key("http://example.org/a/v.mp4?x=1")


def test_equal_basenames_are_two_sources():
    assert source_key("http://example.org/a/v.mp4") != source_key("http://example.org/b/v.mp4")


def test_other_schemes_are_refused():
    for url in ("file://", "ftp://example.org/v.mp4", "v.mp4", ""):
        with pytest.raises(ValueError, match="an http, https, file, s3, gs or hf URL"):
            canonical_url(url)


def test_every_character_of_a_name_in_a_bucket_counts():
    for url in ("s3://lia/a b/C.mp4?x=1#2", "gs://lia/v.mp4", "hf://datasets/ann/talks@main/v.mp4"):
        assert plain_url(f" {url}") == canonical_url(url) == url
    assert plain_url("S3://lia/V.mp4") == "s3://lia/V.mp4"
    assert source_key("s3://lia/v.mp4") != source_key("s3://lia/V.mp4")
    for url in (
        "s3://",
        "s3://lia",
        "s3://lia/",
        "s3://lia/folder/",
        "s3://key:secret@lia/v.mp4",
        "s3:///v.mp4",
    ):
        with pytest.raises(ValueError, match="an http, https, file, s3, gs or hf URL"):
            plain_url(url)


def test_addresses_of_files_on_this_machine_have_one_form():
    assert (
        canonical_url("file:///a%20b/c.mp4")
        == canonical_url("file://localhost/a b/c.mp4")
        == "file:///a%20b/c.mp4"
    )
    for elsewhere in ("file://server/c.mp4", "file://", "file:c.mp4"):
        with pytest.raises(ValueError, match="an http, https, file, s3, gs or hf URL"):
            canonical_url(elsewhere)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8790/WolfgangLanger_Pexels.mp4",
        "file:///a%20b/c.mp4",
        "https://a.example/v.mp4?a=1&b=2",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    ],
)
def test_the_key_of_a_canonical_url_is_its_sha1(url):
    assert source_key(url) == hashlib.sha1(url.encode()).hexdigest()


@pytest.mark.parametrize(
    "spelling",
    [
        "https://a.example/v.mp4?b=2&a=1",
        "https://a.example/v.mp4?utm_source=x&a=1&b=2&utm_campaign=y",
        "https://a.example/v.mp4?fbclid=x&b=2&a=1#t=3",
        "https://A.example:443/v.mp4?a=1&&b=2",
    ],
)
def test_tracking_parameters_and_the_order_of_parameters_do_not_count(spelling):
    assert canonical_url(spelling) == "https://a.example/v.mp4?a=1&b=2"


def test_parameters_that_may_select_a_video_count():
    urls = ("https://a.example/v?id=1", "https://a.example/v?id=2", "https://a.example/v?t=1&id=1")
    assert len({source_key(url) for url in urls}) == 3
    assert source_key("https://a.example/v?a=1&a=2") != source_key("https://a.example/v?a=2&a=1")


def test_a_url_to_download_keeps_its_query():
    assert (
        plain_url("HTTPS://A.example/v?b=2&utm_source=x&a=1#t") == "https://a.example/v?b=2&utm_source=x&a=1"
    )


def test_a_box_of_unknown_width_takes_the_aspect_of_the_video():
    listed = Source(url="https://a.example/v.mp4", key="k", bbox=(274, 94, 398, 270), bbox_size=(0, 360))
    assert with_box_width(listed, (640, 480)).bbox_size == (480, 360)
    assert with_box_width(listed, (1920, 1080)).bbox_size == (640, 360)
    known = replace(listed, bbox_size=(640, 360))
    assert with_box_width(known, (640, 480)) == known
    assert with_box_width(replace(listed, bbox=None, bbox_size=None), (640, 480)).bbox_size is None


def test_former_keys_are_those_of_the_spelling_and_of_usual_ones():
    def sha1(text):
        return hashlib.sha1(text.encode()).hexdigest()

    short, watch = "https://youtu.be/dQw4w9WgXcQ?si=x", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    former = former_keys(short)
    assert {sha1(short), sha1("https://youtu.be/dQw4w9WgXcQ")} <= former
    assert sha1(watch) not in former
    assert sha1("https://youtu.be/dQw4w9WgXcQ") in former_keys(watch)
    assert former_keys("http://127.0.0.1:8790/v.mp4") == set()
    assert former_keys("https://a.example/?b&a") == {sha1("https://a.example/?b&a")}
