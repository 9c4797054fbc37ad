"""The stage download as a user runs it."""

import hashlib
import json
import secrets

import pytest

from preprocessing.download.records.raw_folder import adopt_former
from preprocessing.ledger import read_source_rows

pytestmark = pytest.mark.slow
UNREACHABLE = "http://127.0.0.1:1/v.mp4"


@pytest.fixture(scope="module")
def project(new_project, samples_url):
    project = new_project("download", sources=[f"{samples_url}/single_face.mp4,train", f"{UNREACHABLE},auto"])
    project.run("lia", "up", "prefect")
    project.variables["LIA_PREFECT_API_URL"] = f"http://127.0.0.1:{project.variables['LIA_PREFECT_PORT']}/api"
    project.set_params({"download.num_retries": 0, "download.accept_incomplete": False})
    return project


def statuses(project):
    rows = read_source_rows(project.root / "data/ledger/sources.parquet")
    return {row.source.url.rpartition("/")[2]: row.download.status for row in rows}


def test_the_stage_fails_while_a_rerun_may_succeed_unless_that_is_accepted(project):
    project.run("lia", "download", succeeds=False)
    assert statuses(project) == {"single_face.mp4": "verified", "v.mp4": "retryable"}
    project.set_params({"download.accept_incomplete": True})
    done = project.run("lia", "download")
    assert "0 new, 0 changed, 2 unchanged, 0 removed" in done.stdout + done.stderr
    counts = json.loads((project.root / "metrics/download.json").read_text())
    assert (counts["verified"], counts["retryable"], sum(counts.values())) == (1, 1, 2)


def test_a_source_that_is_no_longer_listed_is_removed(project, samples_url):
    (record,) = (project.root / "data/raw").glob("*.json")
    project.set_sources([f"{samples_url}/no_face.mp4,auto"])
    done = project.run("lia", "download")
    assert f"removed {record.name}: its source is no longer listed" in done.stdout + done.stderr
    assert not record.exists()
    assert statuses(project) == {"no_face.mp4": "verified"}


def test_a_video_that_was_stored_for_another_spelling_is_kept_and_its_tombstone_still_counts(
    project, samples_url
):
    raw, tombstones = project.root / "data/raw", project.root / "data/tombstones.csv"
    before = tombstones.read_text()
    (stored,) = raw.glob("*.json")
    spelling = f"{samples_url}/no_face.mp4?utm_source=x"
    former = hashlib.sha1(spelling.encode()).hexdigest()
    adopt_former(raw, {stored.stem: former})
    project.set_sources([f"{spelling},auto"])
    done = project.run("lia", "download")
    assert f"kept as {stored.stem}.mp4" in done.stdout + done.stderr
    assert [path.name for path in raw.glob("*.json")] == [stored.name]
    tombstones.write_text(f"{before}{former},2026-01-02\n")
    # The spelling that was taken down is known from the ledger of the last run.
    project.set_sources([f"{samples_url}/no_face.mp4,auto"])
    project.run("lia", "download")
    assert statuses(project) == {"no_face.mp4": "forgotten"}
    tombstones.write_text(before)
    project.run("lia", "download")


def test_a_source_with_a_tombstone_is_counted_and_never_downloaded(project, samples_url):
    (record,) = (project.root / "data/raw").glob("*.json")
    with (project.root / "data/tombstones.csv").open("a") as file:
        file.write(f"{record.stem},2026-01-02\n")
    project.run("lia", "download")
    assert statuses(project) == {"no_face.mp4": "forgotten"}
    assert list((project.root / "data/raw").iterdir()) == []


def test_no_credential_reaches_a_file_of_the_project_or_what_it_says(project):
    secret = secrets.token_hex(12)
    project.set_sources([f"{UNREACHABLE}?token={secret},auto"])
    project.set_params({"download.proxy": f"http://ann:{secret}@127.0.0.1:1"})
    refused = project.run("lia", "download", succeeds=False)
    assert "set LIA_DOWNLOAD_PROXY instead" in refused.stdout + refused.stderr
    project.set_params({"download.proxy": None})
    project.variables["LIA_DOWNLOAD_PROXY"] = f"http://ann:{secret}@127.0.0.1:1"
    done = project.run("dvc", "repro", "--single-item", "download")
    del project.variables["LIA_DOWNLOAD_PROXY"]
    assert secret not in refused.stdout + refused.stderr + done.stdout + done.stderr
    files = [path for path in project.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert project.root / "dvc.lock" in files
    small = [path for path in files if path.stat().st_size < 20_000_000]
    found = [path for path in small if secret.encode() in path.read_bytes()]
    # The list is the user's own; DVC keeps no copy of it, for git does.
    assert found == [project.root / "data/sources.csv"]
