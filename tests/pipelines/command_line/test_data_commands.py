import hashlib
import io
import json
import sys

import pytest
from dvc.repo import Repo

from pipelines.commands.takedown import Takedown
from pipelines.local.data_versions import Copies
from preprocessing.ledger import ClipRow, write_clips, write_sources
from preprocessing.sources.source import source_key

URL = "https://a.example/1.mp4"
KEY = "a" * 40


@pytest.fixture
def takedown(root, record):
    """What the project holds of one video; the calls that survey and remove it are recorded."""
    with Repo.init(str(root), no_scm=True):
        pass
    found = Takedown(
        videos={KEY: URL},
        files=[root / "data/raw" / KEY],
        shards=[],
        copies=Copies({}, [], []),
        bundles=[],
        runs=[],
        pictures={},
    )
    return {
        "survey": record("pipelines.commands.takedown.survey", found),
        "carry_out": record("pipelines.commands.forget.carry_out"),
        "rebuild": record("pipelines.commands.forget.rebuild"),
    }


@pytest.mark.parametrize(("answer", "is_removed"), [("y\n", True), ("n\n", False), ("", False)])
def test_nothing_is_removed_before_a_yes(lia, root, takedown, monkeypatch, answer, is_removed):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    done = lia("forget", URL)
    assert f"video {KEY} {URL}\nremoved here: data/raw/{KEY}" in done.out
    assert (done.code == 0) == is_removed
    assert (len(takedown["carry_out"]), len(takedown["rebuild"])) == (is_removed, is_removed)


def test_a_removal_is_of_what_was_surveyed_in_this_project(lia, root, takedown):
    done = lia("forget", URL, "--yes")
    assert done.out.splitlines()[-1].startswith("done: commit data/tombstones.csv and dvc.lock")
    (survey,), (removal,), (rebuilt,) = takedown.values()
    assert (survey["name"], survey["source_list"]) == (URL, root / "data/sources.csv")
    assert survey["store"] is removal["store"] is None
    assert removal["takedown"].videos == {KEY: URL}
    assert removal["tombstones"] == root / "data/tombstones.csv"
    assert rebuilt["paths"].root == root
    assert rebuilt["variables"]["PREFECT_HOME"] == str(root / "runs/prefect")


def test_an_unknown_video_is_refused_unless_a_tombstone_alone_is_wanted(lia, root):
    with Repo.init(str(root), no_scm=True):
        pass
    (root / "data").mkdir(exist_ok=True)
    tombstones = root / "data/tombstones.csv"
    tombstones.write_text("key,date\n")
    (root / "data/sources.csv").write_text(f"url\n{URL}\n")
    unknown = URL.replace("1", "2")
    assert f"near it: {URL}; give one of these" in lia("forget", unknown, "--yes").error
    assert tombstones.read_text() == "key,date\n"
    done = lia("forget", f"{unknown}?utm_source=x", "--yes", "--even-if-unknown")
    assert done.code == 0, done.err
    keys = {line.partition(",")[0] for line in tombstones.read_text().splitlines()[1:]}
    assert keys == {source_key(unknown), hashlib.sha1(f"{unknown}?utm_source=x".encode()).hexdigest()}


def test_with_json_stdout_is_one_document(lia, takedown):
    done = lia("forget", URL, "--yes", "--json")
    assert json.loads(done.out)["videos"] == {KEY: URL}
    assert done.err.startswith("done: ")


def test_a_project_without_dvc_is_refused_in_one_line(lia, root):
    assert lia("forget", URL, "--yes").error.startswith(f"got no DVC repository in {root}")


def test_a_list_of_an_unknown_format_is_wrong_use(lia):
    done = lia("sources", "import", "list.csv", "--format", "mine", "-o", "out.csv")
    assert done.code == 2
    assert "fomm-csv" in done.err


def test_a_missing_list_is_refused_in_one_line(lia):
    refused = lia("sources", "import", "list.csv", "--format", "fomm-csv", "-o", "out.csv")
    assert refused.error.startswith("got no file at list.csv")


@pytest.fixture
def ledger(root):
    """A ledger of three clips and no sources."""
    rows = [
        ClipRow(key=f"k{number}", row_key="r", source_key="s", url=URL, outcome="kept", num_frames=number)
        for number in range(3)
    ]
    write_clips(root / "data/ledger/clips.parquet", rows)
    write_sources(root / "data/ledger/sources.parquet", [])


def test_without_a_table_the_ledger_is_counted(lia, ledger):
    done = lia("ledger")
    assert done.code == 0
    assert done.out.splitlines() == ["table  outcome  rows  reason", "clips  kept     3"]
    assert json.loads(lia("ledger", "--json").out)["clips"] == [
        {"outcome": "kept", "reason": "", "num_rows": 3}
    ]


def test_rows_of_the_ledger_are_selected_by_condition_column_and_limit(lia, ledger):
    done = lia("ledger", "--clips", "--where", "num_frames>0", "--columns", "key, num_frames", "--limit", "1")
    assert done.out.splitlines() == ["key  num_frames", "k1   1"]
    assert done.err == "1 of 2 rows; --limit 0 shows all\n"
    document = json.loads(lia("ledger", "--clips", "--where", "num_frames>0", "--limit", "0", "--json").out)
    assert document["num_found"] == 2
    assert [row["key"] for row in document["rows"]] == ["k1", "k2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clips", "--sources"], "one table is shown at a time"),
        (["--where", "outcome=kept"], "add --clips or --sources"),
        (
            ["--clips", "--where", "keys=1"],
            "got column 'keys', which the table does not have; did you mean key",
        ),
    ],
)
def test_a_wrong_use_of_the_ledger_is_one_line(lia, ledger, arguments, message):
    assert message in lia("ledger", *arguments).error


def test_a_project_without_a_ledger_is_told_what_to_run(lia):
    assert lia("ledger").error.endswith("run `lia download`")
    assert lia("ledger", "--clips").error.endswith("run `lia shards`")
