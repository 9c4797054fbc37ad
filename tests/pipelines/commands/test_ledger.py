import json

import pytest

from pipelines.commands.ledger import (
    DEFAULT_COLUMNS,
    Selection,
    count_all,
    count_outcomes,
    outcome_document,
    outcome_lines,
    row_lines,
    select_rows,
)
from pipelines.project_paths import ProjectPaths
from preprocessing.ledger import (
    CLIPS_SCHEMA,
    SOURCES_SCHEMA,
    ClipRow,
    Download,
    SourceRow,
    write_clips,
    write_sources,
)
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source, source_key


def clip(number, outcome, **values):
    key = f"{number:040d}"
    url = f"http://a.org/{number}.mp4"
    return ClipRow(
        key=f"{key}-whole-0", row_key=f"{key}-whole", source_key=key, url=url, outcome=outcome, **values
    )


CLIPS = [
    clip(1, "kept", split="train", num_frames=100, start_s=0.5, mean_score=0.9),
    clip(2, "kept", split="test", num_frames=60, start_s=2.0),
    clip(3, "filtered", reason="dark", num_frames=80),
    clip(4, "filtered", reason="blurry"),
    clip(5, "filtered", reason="dark"),
    clip(6, "failed", error="cannot decode 0000000000000000000000000000000000000006.mp4", retryable=False),
    clip(7, "failed", error="cannot decode 0000000000000000000000000000000000000007.mp4", retryable=False),
    clip(8, "failed", error="too slow", retryable=True),
]


def source(url, status, error=None, **facts):
    return SourceRow(Source(url=url, key=source_key(url), **facts), Download(status=status, error=error))


SOURCES = [
    source("http://a.org/1.mp4", DownloadStatus.VERIFIED, bbox=(1.0, 2.0, 3.0, 4.5), bbox_size=(9, 9)),
    source("http://a.org/2.mp4", DownloadStatus.PERMANENT, "got 404", note="two\nlines\x1b[31m"),
]


@pytest.fixture
def paths(tmp_path):
    paths = ProjectPaths(tmp_path)
    write_clips(paths.ledger / "clips.parquet", CLIPS)
    write_sources(paths.source_ledger, SOURCES)
    return paths


def found(paths, *where, table="clips"):
    """Return the numbers in the URLs of the rows that fulfil `where`."""
    rows = select_rows(paths, Selection(table, where, ["url"]))
    assert rows.num_found == len(rows.records)
    return [int(row["url"].removeprefix("http://a.org/").removesuffix(".mp4")) for row in rows.records]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ([], [1, 2, 3, 4, 5, 6, 7, 8]),
        (["outcome=kept"], [1, 2]),
        (["reason = dark"], [3, 5]),
        (["num_frames>60"], [1, 3]),
        (["num_frames<100", "outcome=kept"], [2]),
        (["start_s<1.5"], [1]),
        (["retryable=true"], [8]),
        (["retryable!=true", "outcome=failed"], [6, 7]),
        (["mean_score!="], [1]),
        (["reason=", "outcome!=failed"], [1, 2]),
        (["url>http://a.org/6"], [6, 7, 8]),
        (["error=too slow"], [8]),
    ],
)
def test_conditions_select_the_rows_that_fulfil_all_of_them(paths, where, numbers):
    assert found(paths, *where) == numbers


@pytest.mark.parametrize("condition", ["reason{}dark", "num_frames{}60", "retryable{}false", "outcome{}kept"])
def test_every_row_is_either_equal_or_unequal(paths, condition):
    equal, unequal = (found(paths, condition.format(operator)) for operator in ("=", "!="))
    assert equal
    assert sorted(equal + unequal) == found(paths)


def test_a_column_of_lists_tells_rows_with_a_value_from_those_without(paths):
    assert found(paths, "bbox=", table="sources") == [2]
    assert found(paths, "bbox!=", table="sources") == [1]


@pytest.mark.parametrize(
    ("table", "where", "message"),
    [
        ("clips", "reson=dark", "got column 'reson', which the table does not have; did you mean reason or"),
        ("clips", "qqqq=1", f"does not have; known are {', '.join(CLIPS_SCHEMA.names)}"),
        ("clips", "dark", "got --where 'dark'; COLUMN=VALUE, COLUMN!=VALUE, COLUMN<VALUE or"),
        ("clips", "num_frames>many", "got --where 'num_frames>many'; num_frames takes a whole number"),
        ("clips", "num_frames=1e3", "takes a whole number; change the value"),
        ("clips", f"num_frames<{10**30}", "takes a whole number; change the value"),
        ("clips", "num_frames<", "takes a whole number; change the value"),
        ("clips", "start_s<late", "start_s takes a number; change the value"),
        ("clips", "retryable=maybe", "retryable takes = or != with true or false; change the value"),
        ("clips", "retryable<true", "retryable takes = or != with true or false; change the condition"),
        ("clips", "outcome=good", "outcome is one of kept, filtered, failed; choose one"),
        ("sources", "status=ok", "status is one of verified, permanent, retryable"),
        ("sources", "bbox=1", "bbox takes = or != without a value, for rows without or with one"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_in_one_line(paths, table, where, message):
    with pytest.raises(ValueError, match="got") as refused:
        select_rows(paths, Selection(table, [where]))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_column_to_show_is_refused(paths):
    with pytest.raises(ValueError, match="did you mean num_frames"):
        select_rows(paths, Selection("clips", columns=["url", "frames"]))


def test_the_limit_cuts_rows_and_the_total_is_still_known(paths):
    rows = select_rows(paths, Selection("clips", columns=["key"], limit=3))
    assert [row["key"] for row in rows.records] == [row.key for row in CLIPS[:3]]
    assert rows.num_found == len(CLIPS)


def test_lines_show_the_main_columns_and_documents_all(paths):
    lines = row_lines(select_rows(paths, Selection("clips", ["outcome=kept"])))
    assert lines[0] == DEFAULT_COLUMNS["clips"]
    assert lines[1] == ("kept", "", "train", "", "100", "0.5", "http://a.org/1.mp4", "")
    for table, schema in (("clips", CLIPS_SCHEMA), ("sources", SOURCES_SCHEMA)):
        assert set(DEFAULT_COLUMNS[table]) <= set(schema.names)
        rows = select_rows(paths, Selection(table), all_columns=True)
        assert list(rows.columns) == schema.names
        assert json.loads(json.dumps(rows.records)) == rows.records


def test_a_cell_is_one_line_that_no_terminal_obeys(paths):
    lines = row_lines(select_rows(paths, Selection("sources", columns=["bbox", "note"])))
    assert sorted(lines[1:]) == [("", "two lines [31m"), ("1,2,3,4.5", "")]


def test_outcomes_are_counted_by_reason_and_failures_by_error(paths):
    assert count_outcomes(paths, "clips") == [
        ("failed", "cannot decode *.mp4 (permanent)", 2),
        ("failed", "too slow (a rerun may succeed)", 1),
        ("filtered", "dark", 2),
        ("filtered", "blurry", 1),
        ("kept", "", 2),
    ]
    assert count_outcomes(paths, "sources") == [("permanent", "", 1), ("verified", "", 1)]


def test_the_summary_holds_both_tables_and_loses_no_row(paths):
    counts = count_all(paths)
    lines = outcome_lines(counts)
    assert lines[:2] == [("table", "outcome", "rows", "reason"), ("sources", "permanent", "1", "")]
    document = outcome_document(counts)
    assert {table: sum(one["num_rows"] for one in found) for table, found in document.items()} == {
        "sources": len(SOURCES), "clips": len(CLIPS)
    }  # fmt: skip
    assert len(lines) - 1 == sum(map(len, document.values()))


def test_a_missing_table_names_the_command_that_writes_it(paths, caplog):
    (paths.ledger / "clips.parquet").unlink()
    with pytest.raises(ValueError, match=r"got no ledger at .*clips\.parquet; .* run `lia shards`"):
        select_rows(paths, Selection("clips"))
    assert list(count_all(paths)) == ["sources"]
    assert "run `lia shards`" in caplog.text
    paths.source_ledger.unlink()
    with pytest.raises(ValueError, match=r"got no ledger at .*sources\.parquet; .* run `lia download`"):
        count_all(paths)


def test_a_damaged_table_is_named(paths):
    paths.source_ledger.write_bytes(b"nothing")
    with pytest.raises(
        ValueError, match=r"sources\.parquet, which is no Parquet file .*run `lia download` again"
    ):
        count_all(paths)
