from dataclasses import fields

import pytest

from preprocessing.clips.quality import keep_or_filter
from preprocessing.ledger import ClipRow, ClipScores, Download, SourceRow
from preprocessing.outcome import DownloadStatus, Filtered
from preprocessing.shards.contact_sheet import (
    MEASURES,
    NUM_EXAMPLES,
    NUM_PICTURES,
    binned,
    clip_facts,
    examples,
    write_contact_sheet,
)
from tests.parsed_page import ParsedPage

URL = "http://a.org/1.mp4"


def candidate(key, outcome="filtered", url=URL, **values):
    return ClipRow(key=key, row_key="k", source_key="k", url=url, outcome=outcome, **values)


@pytest.fixture
def write(tmp_path):
    def write(sources=(), rows=(), pictures=None):
        write_contact_sheet(tmp_path / "report.html", sources, rows, pictures or {})
        return ParsedPage((tmp_path / "report.html").read_text())

    return write


def test_every_outcome_is_shown_kept_clips_first_and_foreign_text_is_escaped(write, make_source):
    url = "http://a.org/?<script>"
    rows = [
        candidate("a", "failed", url, error="<b>broken</b>", retryable=False),
        candidate("b", "kept", url, num_frames=4, start_s=0.0, face_px=9.0),
    ]
    sources = [SourceRow(source=make_source(url), download=Download(status=DownloadStatus.VERIFIED))]
    page = write(sources, rows, {"b": [b"one", b"two", b"three", b"four"]})
    assert "script" not in page.attributes
    assert "b" not in page.attributes
    assert page.headings.index("kept: 1 of 1") < page.headings.index("failed: 1 of 1")
    assert page.figures["a"]["caption"] == "http://a.org/?<script> <b>broken</b>"
    assert [image["src"] for image in page.figures["b"]["images"]] == [
        f"data:image/jpeg;base64,{data}" for data in ("b25l", "dHdv", "dGhyZWU=", "Zm91cg==")
    ]
    assert page.histograms["Clips"] == {"failed": 1, "kept": 1}
    assert page.histograms["Sources"]["verified"] == 1


def test_the_page_stays_small_and_shows_each_outcome(write, make_source):
    rows = [candidate(f"{number:04d}", reason="dark") for number in range(1000)]
    rows.append(candidate("one", "failed", error="broken", retryable=False))
    chosen = examples(rows)
    assert [row.key for row in chosen["failed"]] == ["one"]
    assert [row.key for row in chosen["filtered(dark)"]] == [
        f"{round(place * 999 / 11):04d}" for place in range(12)
    ]
    gone = Download(status=DownloadStatus.PERMANENT, error="gone")
    sources = [SourceRow(make_source(f"http://a.org/{number}.mp4"), gone) for number in range(1000)]
    page = write(sources, rows, {"one": [b"picture"] * 100})
    assert "filtered(dark): 12 of 1000" in page.headings
    assert len(page.figures) == NUM_EXAMPLES + 1
    assert len(page.figures["one"]["images"]) == NUM_PICTURES
    listed = page.tables["Sources that are not verified"][1:]
    assert [row[1:] for row in listed] == [["permanent", "gone"]] * NUM_EXAMPLES


def test_sizes_lengths_poses_and_identities_of_kept_clips_are_counted(write):
    common = {"start_s": 0.0, "identity": "x"}
    rows = [
        candidate("a", "kept", num_frames=100, face_px=70.0, yaw_deg=4.0, pitch_deg=-3.0, **common),
        candidate("b", "kept", num_frames=130, face_px=300.0, yaw_deg=25.0, **common),
        candidate("c", reason="dark", num_frames=900, face_px=900.0, yaw_deg=85.0, **common),
    ]
    page = write([], rows)
    assert page.histograms["Face size, px"] == {
        "64 to 128": 1, "128 to 192": 0, "192 to 256": 0, "256 to 320": 1
    }  # fmt: skip
    assert page.histograms["Length, frames"] == {"0 to 128": 1, "128 to 256": 1}
    assert page.histograms["Yaw without its sign, degrees"] == {"0 to 10": 1, "10 to 20": 0, "20 to 30": 1}
    assert page.histograms["Pitch, degrees"] == {"-10 to 0": 1}
    assert page.histograms["Identities by their number of clips"] == {"2": 1}


def test_bins_cover_the_values_without_gaps():
    assert binned([], 10) == {}
    assert binned([5, 19.9, 20], 10) == {"0 to 10": 1, "10 to 20": 1, "20 to 30": 1}
    assert binned([1, 3], 1) == {"1": 1, "2": 0, "3": 1}


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"reason": "blurry", "sharpness": 41.4, "identity": "Ann"}, ["Ann", "sharpness 41"]),
        ({"reason": "multiple_faces", "other_face": 0.25}, ["another face covers 25%"]),
        ({"reason": "duplicate", "duplicate_of": "z-whole"}, ["duplicate of z-whole"]),
        (
            {"reason": "too_short", "num_frames": 5, "start_s": 1.0, "face_px": 80.0},
            ["5 frames from 1.00 s, face 80 px"],
        ),
        ({"outcome": "kept", "sharpness": 41.4, "split": "test"}, ["test"]),
    ],
)
def test_a_rejected_clip_shows_what_its_rejection_was_decided_by(values, facts):
    assert clip_facts(candidate("a", **values)) == facts


def test_every_measure_belongs_to_a_rule_and_to_a_column_of_the_ledger(shards_settings):
    """Reasons are those that `judge` gives; fields are columns of the ledger."""
    poor = ClipScores(
        mean_score=0.1, sharpness=1.0, brightness=1.0, yaw_deg=80.0, pitch_deg=-80.0, roll_deg=80.0,
        other_face=0.9, motion=0.0,
    )  # fmt: skip
    strict = {
        "low_confidence": {"min_mean_score": 0.5},
        "dark": {"min_brightness": 9.0},
        "blurry": {"min_sharpness": 9.0},
        "extreme_pose": {"max_yaw_deg": 9.0},
        "extreme_pitch": {"max_pitch_deg": 9.0},
        "extreme_roll": {"max_roll_deg": 9.0},
        "multiple_faces": {"max_other_face": 0.1},
        "static": {"min_motion": 9.0},
    }
    assert set(strict) == set(MEASURES)
    for reason, change in strict.items():
        lenient = shards_settings.quality.model_copy(update={"min_mean_score": 0.0} | change)
        assert keep_or_filter(100, poor, lenient) == Filtered(reason)
        assert MEASURES[reason][0] in {field.name for field in fields(ClipRow)}


def test_failures_are_summed_by_error(write):
    rows = [candidate(f"{number}", "failed", error="too slow", retryable=True) for number in range(3)]
    rows.append(candidate("other", "failed", error="<b>bad</b>", retryable=False))
    page = write([], rows)
    assert page.tables["Failures by error"][1:] == [
        ["too slow", "3", "a rerun may succeed", URL],
        ["<b>bad</b>", "1", "permanent", URL],
    ]
    assert "Failures by error" not in write([], [candidate("kept", "kept")]).tables
