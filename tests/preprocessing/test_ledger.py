import pyarrow.parquet as pq
import pytest

from preprocessing.download.changes import invalid_row
from preprocessing.ledger import (
    SOURCES_SCHEMA,
    ClipRow,
    Download,
    SourceRow,
    count_clips,
    count_failures,
    count_sources,
    iterate_sources,
    read_clip_rows,
    read_source_rows,
    write_clips,
    write_sources,
)
from preprocessing.outcome import Absence, DownloadStatus
from preprocessing.sources.source_list import BadRow


@pytest.fixture
def rows(make_source):
    good = Download(
        status=DownloadStatus.VERIFIED, file="v.mp4", size_bytes=3, sha256="ab", fps=25.0, duration_s=1.0
    )
    bad = Download(status=DownloadStatus.PERMANENT, error="got 404", absence=Absence.REMOVED)
    return [
        SourceRow(
            source=make_source("http://a.org/1.mp4", bbox=(1, 2, 3, 4), extra={"mood": "é"}), download=good
        ),
        SourceRow(source=make_source("http://a.org/2.mp4", start_s=2.5, list="vox"), download=bad),
    ]


def test_sources_come_back_as_written(tmp_path, rows):
    write_sources(tmp_path / "sources.parquet", rows)
    read = read_source_rows(tmp_path / "sources.parquet")
    assert sorted(read, key=lambda row: row.source.url) == rows


def test_an_invalid_row_is_counted_but_is_not_a_source(tmp_path, rows):
    bad = invalid_row(BadRow(9, "v.mp4", "got url 'v.mp4'"))
    write_sources(tmp_path / "sources.parquet", [*rows, bad])
    assert count_sources(read_source_rows(tmp_path / "sources.parquet"))["invalid"] == 1
    found = sorted(iterate_sources(tmp_path / "sources.parquet"), key=lambda source: source.url)
    assert found == [row.source for row in rows]


def test_sources_stay_in_the_order_of_the_list(tmp_path, rows):
    for order in (rows, rows[::-1]):
        write_sources(tmp_path / "sources.parquet", order)
        assert read_source_rows(tmp_path / "sources.parquet") == order


def test_every_source_is_in_exactly_one_state(rows):
    counts = count_sources(rows)
    assert sum(counts.values()) == len(rows)
    assert (counts["verified"], counts["permanent"], counts["retryable"]) == (1, 1, 0)


def test_clips_come_back_as_written_and_are_counted_by_reason(tmp_path):
    base = {"row_key": "k", "source_key": "k", "url": "http://a.org/1.mp4"}
    rows = [
        ClipRow(key="a", outcome="kept", split="train", num_frames=60, **base),
        ClipRow(key="b", outcome="filtered", reason="too_short", **base),
        ClipRow(key="c", outcome="failed", error="broken", retryable=False, **base),
    ]
    write_clips(tmp_path / "clips.parquet", rows[::-1])
    assert read_clip_rows(tmp_path / "clips.parquet") == rows
    assert count_clips(rows) == {"failed": 1, "filtered(too_short)": 1, "kept": 1}


def test_a_ledger_with_a_column_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "clips.parquet"
    row = ClipRow(key="a", outcome="kept", row_key="k", source_key="k", url="http://a.org/1.mp4")
    write_clips(path, [row])
    pq.write_table(pq.read_table(path).append_column("perceptual_hash", [["00ff"]]), path)
    assert read_clip_rows(path) == [row]


def test_the_error_for_a_missing_ledger_names_its_stage(tmp_path):
    with pytest.raises(ValueError, match="lia download"):
        read_source_rows(tmp_path / "sources.parquet")


def test_the_columns_of_sources_keep_their_names_and_types():
    texts = dict.fromkeys(
        ("url", "key", "source_id", "identity", "split", "licence", "note", "list", "extra"), "string"
    )
    texts |= dict.fromkeys(("status", "error", "file", "sha256", "format_id", "vcodec", "acodec"), "string")
    numbers = dict.fromkeys(("start_s", "end_s", "fps", "duration_s"), "double")
    numbers |= dict.fromkeys(("size_bytes", "width_px", "height_px"), "int64")
    lists = {"bbox": "list<item: double>", "bbox_size": "list<item: int64>"}
    columns = {field.name: str(field.type) for field in SOURCES_SCHEMA}
    assert columns == texts | numbers | lists | dict.fromkeys(("downloader", "recipe", "absence"), "string")
    assert list(columns)[:4] == ["url", "key", "source_id", "start_s"]
    assert list(columns)[-3:] == ["downloader", "recipe", "absence"]


def failed(number, error, retryable=False):
    key = f"k{number}"
    row = {"key": key, "row_key": f"{key}-whole", "source_key": key, "url": f"http://a.org/{number}.mp4"}
    return ClipRow(**row, outcome="failed", error=error, retryable=retryable)


def test_failures_are_summed_by_error_whatever_the_source_is_called():
    rows = [failed(number, f"cannot decode raw/k{number}.mp4") for number in (3, 1, 2)]
    rows += [failed(4, "too slow", retryable=True), failed(5, "too slow")]
    rows += [ClipRow(key="k", row_key="k", source_key="k", url="u", outcome="filtered", reason="dark")]
    found = [(one.num_rows, one.error, one.prospect, one.url) for one in count_failures(rows)]
    assert found == [
        (3, "cannot decode raw/*.mp4", "permanent", "http://a.org/1.mp4"),
        (1, "too slow", "permanent", "http://a.org/5.mp4"),
        (1, "too slow", "a rerun may succeed", "http://a.org/4.mp4"),
    ]
    assert sum(one.num_rows for one in count_failures(rows)) == sum(row.outcome == "failed" for row in rows)


def test_a_table_from_before_a_column_was_added_is_read(tmp_path, rows):
    path = tmp_path / "sources.parquet"
    write_sources(path, rows)
    pq.write_table(pq.read_table(path).drop_columns(["recipe"]), path)
    assert sorted(read_source_rows(path), key=lambda row: row.source.url) == rows
