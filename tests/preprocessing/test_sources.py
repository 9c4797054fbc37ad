import pytest

from preprocessing.sources import assign_splits, canonical_url, read_sources, source_key


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "sources.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "spelling", ["HTTP://Example.org:80/a/v.mp4?x=1#t=3", " http://example.org/a/v.mp4?x=1 "]
)
def test_spellings_of_one_address_share_a_key(spelling):
    assert source_key(spelling) == source_key("http://example.org/a/v.mp4?x=1")


def test_equal_basenames_are_two_sources():
    assert source_key("http://example.org/a/v.mp4") != source_key("http://example.org/b/v.mp4")


def test_other_schemes_are_refused():
    for url in ("file://", "ftp://example.org/v.mp4", "v.mp4", ""):
        with pytest.raises(ValueError, match="an http, https or file:// address"):
            canonical_url(url)


def test_a_row_keeps_what_it_says_and_what_we_do_not_know(write):
    path = write(
        "url,start_s,end_s,bbox,width,height,identity,split,licence,mood\n"
        "http://a.org/v.mp4,1.5,4,10-20-110-220,640,360,ann,test,CC0,gay\n"
    )
    (source,) = read_sources(path)
    assert (source.start_s, source.end_s) == (1.5, 4)
    assert (source.bbox, source.bbox_size) == ((10, 20, 110, 220), (640, 360))
    assert (source.identity, source.split, source.licence) == ("ann", "test", "CC0")
    assert source.extra == {"mood": "gay"}


def test_all_bad_rows_are_named_at_once_with_line_and_reason(write):
    path = write(
        "url,start_s,end_s,bbox,width,height,split\n"
        "http://a.org/1.mp4,,,,,,\n"
        "v.mp4,,,,,,\n"
        "http://a.org/2.mp4,5,4,,,,\n"
        "http://a.org/3.mp4,,,1-2-3,640,360,\n"
        "http://a.org/4.mp4,,,0-0-700-10,640,360,\n"
        "http://a.org/5.mp4,,,,,,dev\n"
        "http://a.org/1.mp4,,,,,,\n"
        "http://a.org/6.mp4,x,,,,,\n"
        "http://a.org/7.mp4\n"
    )
    with pytest.raises(ValueError, match="8 bad rows") as caught:
        read_sources(path)
    for line in (3, 4, 5, 6, 7, 8, 9, 10):
        assert f"line {line}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_identity_in_two_splits_is_a_leak(write):
    path = write(
        "url,identity,split\nhttp://a.org/1.mp4,ann,train\nhttp://a.org/2.mp4,ann,test\nhttp://a.org/3.mp4,bob,test\n"
    )
    with pytest.raises(ValueError, match="lines 2, 3: got splits test and train"):
        read_sources(path)


def test_two_parts_of_one_video_are_two_rows_of_one_source(write):
    path = write("url,start_s,end_s\nhttp://a.org/1.mp4,0,4\nhttp://a.org/1.mp4,4,8\n")
    first, second = read_sources(path)
    assert first.key == second.key
    assert first.row_key != second.row_key


@pytest.mark.parametrize("text", ["", "link\nhttp://a.org/1.mp4\n", "url\n"])
def test_a_list_without_sources_is_refused(write, text):
    with pytest.raises(ValueError, match=r"sources\.csv"):
        read_sources(write(text))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv"):
        read_sources(tmp_path / "nowhere.csv")


def test_no_video_and_no_identity_is_in_two_splits(make_source):
    sources = [
        make_source(
            f"http://a.org/{number // 2}.mp4", start_s=float(number), identity=f"person {number // 3}"
        )
        for number in range(200)
    ]
    splits = assign_splits(sources, 0.3, 0)
    for name in ("key", "identity"):
        found = {}
        for source in sources:
            found.setdefault(getattr(source, name), set()).add(splits[source.row_key])
        assert all(len(seen) == 1 for seen in found.values())
    assert 0.1 < sum(split == "test" for split in splits.values()) / 200 < 0.5


def test_new_sources_move_no_old_ones(make_source):
    sources = [make_source(f"http://a.org/{number}.mp4") for number in range(60)]
    before = assign_splits(sources[:40], 0.3, 0)
    after = assign_splits(sources, 0.3, 0)
    assert before.items() <= after.items()


def test_a_wish_decides_for_its_whole_group(make_source):
    sources = [
        make_source("http://a.org/1.mp4", identity="ann", split="test"),
        make_source("http://a.org/2.mp4", identity="ann"),
    ]
    assert set(assign_splits(sources, 0.0, 0).values()) == {"test"}


def test_addresses_of_files_on_this_machine_have_one_form():
    assert (
        canonical_url("file:///a%20b/c.mp4")
        == canonical_url("file://localhost/a b/c.mp4")
        == "file:///a%20b/c.mp4"
    )
    for elsewhere in ("file://server/c.mp4", "file://", "file:c.mp4"):
        with pytest.raises(ValueError, match="an http, https or file:// address"):
            canonical_url(elsewhere)
