import pytest

from preprocessing.sources.source import canonical_url, source_key


@pytest.mark.parametrize(
    "spelling", ["HTTP://Example.org:80/a/v.mp4?x=1#t=3", " http://example.org/a/v.mp4?x=1 "]
)
def test_spellings_of_one_address_share_a_key(spelling):
    assert source_key(spelling) == source_key("http://example.org/a/v.mp4?x=1")


def test_equal_basenames_are_two_sources():
    assert source_key("http://example.org/a/v.mp4") != source_key("http://example.org/b/v.mp4")


def test_other_schemes_are_refused():
    for url in ("file://", "ftp://example.org/v.mp4", "v.mp4", ""):
        with pytest.raises(ValueError, match="an http, https or file:// URL"):
            canonical_url(url)


def test_addresses_of_files_on_this_machine_have_one_form():
    assert (
        canonical_url("file:///a%20b/c.mp4")
        == canonical_url("file://localhost/a b/c.mp4")
        == "file:///a%20b/c.mp4"
    )
    for elsewhere in ("file://server/c.mp4", "file://", "file:c.mp4"):
        with pytest.raises(ValueError, match="an http, https or file:// URL"):
            canonical_url(elsewhere)
