import pytest

from preprocessing.sources.source_list import read_sources, read_valid_sources


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "sources.csv"
        path.write_text(text)
        return path

    return write


def test_a_row_keeps_known_and_unknown_columns(write):
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


def test_blanks_and_capitals_in_the_header_and_blanks_around_values_do_not_count(write):
    path = write('URL, Start_S ,end_s, split, note\nhttp://a.org/1.mp4 , 10, 20 , test, "tall, dark"\n')
    (source,) = read_sources(path)
    assert (source.url, source.start_s, source.end_s) == ("http://a.org/1.mp4", 10, 20)
    assert (source.split, source.note, source.extra) == ("test", "tall, dark", {})


def test_an_unknown_column_is_warned_about(write, caplog):
    (source,) = read_sources(write("url,starts\nhttp://a.org/1.mp4,10\n"))
    assert source.extra == {"starts": "10"}
    (message,) = caplog.messages
    assert message.endswith("unknown column 'starts' has no effect; did you mean start_s?")


def test_a_header_that_is_not_utf_8_is_refused_with_the_files_name(tmp_path):
    (tmp_path / "sources.csv").write_bytes("url,größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"sources\.csv, line 1: got bytes that are not UTF-8"):
        read_sources(tmp_path / "sources.csv")


SPELLINGS = ("https://youtu.be/dQw4w9WgXcQ?si=a", "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3")


def test_two_spellings_of_one_video_are_a_duplicate_row(write):
    with pytest.raises(ValueError, match=r"line 3: got the same part of .* as line 2"):
        read_sources(write("url\n" + "\n".join(SPELLINGS) + "\n"))


def test_two_spellings_of_one_video_in_two_splits_are_a_leak(write):
    train, test = SPELLINGS
    with pytest.raises(ValueError, match="lines 2, 3: got splits test and train"):
        read_sources(write(f"url,start_s,split\n{train},0,train\n{test},9,test\n"))


@pytest.mark.parametrize("text", ["", "link\nhttp://a.org/1.mp4\n", "url\n"])
def test_a_list_without_sources_is_refused(write, text):
    with pytest.raises(ValueError, match=r"sources\.csv"):
        read_sources(write(text))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv"):
        read_sources(tmp_path / "nowhere.csv")


GARBAGE = (
    "v.mp4,,,,",
    "ftp://a.org/{n}.mp4,,,,",
    "http://a.org/{n}.mp4,9,4,,",
    "http://a.org/{n}.mp4,-1,,,",
    "http://a.org/{n}.mp4,nan,,,",
    "http://a.org/{n}.mp4,,,dev,",
    "http://a.org/{n}.mp4",
    "http://a.org/{n}.mp4,,,,,,",
    "http://a.org/{m}.mp4,,,,",
    '"http://a.org/{n}.mp4,,,,',
    "http://a.org/{n}.mp4,,,,b\udcffb",
    "http://[a.org/{n}.mp4,,,,",
    "http://a.org:x/{n}.mp4,,,,",
    "\x00\x01\x02",
)


def test_of_ten_thousand_rows_every_bad_one_is_named_and_the_others_are_read(tmp_path):
    rows, bad = ["url,start_s,end_s,split,note"], []
    for n in range(2, 10_002):
        if n % 20 == 10:
            rows.append(GARBAGE[len(bad) % len(GARBAGE)].format(n=n, m=n - 1))
            bad.append(n)
        else:
            rows.append(f'http://a.org/{n}.mp4,,,,"tall, dark {n}"')
    path = tmp_path / "sources.csv"
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogateescape") + b"\n")
    listed = read_valid_sources(path)
    assert [row.line for row in listed.bad_rows] == bad
    assert all(str(row).startswith(f"line {row.line}: got ") for row in listed.bad_rows)
    assert [source.note for source in listed.sources] == [
        f"tall, dark {n}" for n in range(2, 10_002) if n not in bad
    ]
    with pytest.raises(ValueError, match="got 500 bad rows"):
        read_sources(path)


def test_a_leak_is_refused_even_if_bad_rows_are_skipped(tmp_path):
    path = tmp_path / "sources.csv"
    path.write_text(
        "url,identity,split\nv.mp4,,\nhttp://a.org/1.mp4,ann,train\nhttp://a.org/2.mp4,ann,test\n"
    )
    with pytest.raises(ValueError, match="lines 3, 4: got splits"):
        read_valid_sources(path)


def test_a_list_of_bad_rows_alone_is_refused(tmp_path):
    path = tmp_path / "sources.csv"
    path.write_text("url\nv.mp4\n")
    with pytest.raises(ValueError, match=r"no rows .* but 1 bad ones"):
        read_valid_sources(path)
