import numpy as np
import pytest
from PIL import Image

from lia_model.evaluation.literature import PUBLISHED
from lia_model.evaluation.metric_table import PROTOCOL_METRICS
from lia_model.evaluation.page import evaluation_page, left_out, page_facts
from lia_model.evaluation.page_pictures import best_median_worst, picture_name
from lia_model.evaluation.page_tables import clip_names
from tests.lia_model.shards_on_disk import make_manifest
from tests.parsed_page import ParsedPage

MANIFEST = make_manifest(64)
L1 = {"a": 0.01, "b": 0.02, "c": 0.03}


def row(clip, model, protocol, **values):
    metrics = {name: values.get(name) for names in PROTOCOL_METRICS.values() for name in names}
    return {
        "protocol": protocol,
        "model": model,
        "mode": "absolute" if protocol == "reconstruction" else "relative",
        "clip": f"{clip}-whole",
        "url": f"http://host/{clip}.mp4",
        "by_time": clip == "a",
        "source_clip": f"{clip}-whole" if protocol == "reconstruction" else "z-whole",
        "source_url": "http://host/z.mp4",
        "source_frame": 0,
        "num_frames": 4,
        "num_face_frames": 2,
        **metrics,
    }


@pytest.fixture
def rows():
    made = []
    for clip, l1 in L1.items():
        made += [
            row(clip, model, "reconstruction", l1=l1 * factor, psnr=30.0, ssim=0.9, lpips=0.1, akd=akd)
            for model, factor, akd in (("model", 1, 1.5), ("copy_source", 2, None), ("<other>", 1.5, 2.0))
        ]
        made.append(row(clip, "model", "cross_identity", csim=0.8, motion=l1, mkr=0.25))
    return made


@pytest.fixture
def report(rows):
    def entry(model, metric, mean):
        protocol = "cross_identity" if metric in ("csim", "motion") else "reconstruction"
        return {
            "model": model,
            "protocol": protocol,
            "metric": metric,
            "mean": mean,
            "low": 0.9 * mean,
            "high": 1.1 * mean,
            "num_clips": 3,
        }

    models = ("model", "copy_source", "<other>")
    return {
        "identity_disjoint": False,
        "num_clips": 3,
        "num_unknown_identities": 2,
        "frozen": [
            {"file": "evaluation_list.json", "sha256": "fedcba" * 8},
            {"file": "manifest.json", "sha256": "1234567890abcdef" * 4},
        ],
        "summary": [
            *(entry(model, name, 0.1) for model in models for name in ("l1", "lpips", "psnr", "ssim")),
            entry("model", "akd", 1.234),
            entry("model", "csim", 0.8),
            entry("model", "motion", 0.02),
        ],
        "set_distances": [
            {
                "metric": "fid",
                "protocol": "reconstruction",
                "model": "model",
                "value": 12.345,
                "num_samples": 12,
                "num_features": 3,
                "features_file": "inception.pt",
                "features_sha256": "ab" * 32,
            }
        ],
        "measured_by": [
            {"measures": ["akd", "motion"], "model": "dlib 68"},
            {"measures": ["aed", "csim"], "model": "dlib 128-d"},
        ],
        "models": [
            {"name": "model", "version": None, "weights_sha256": "aa" * 32},
            {"name": "copy_source", "version": None, "weights_sha256": None},
            {"name": "<other>", "version": "7", "weights_sha256": "bb" * 32},
        ],
        "skipped": [{"what": "fvd", "reason": "no <network>"}, {"what": "aed", "reason": "no face"}],
        "clips": [
            {"clip": f"{clip}-whole", "improvement": value}
            for clip, value in zip(L1, (0.5, 0.1, 0.3), strict=True)
        ],
        "frames": {f"{clip}-whole": [0, 1, 2, 3] for clip in L1},
    }


@pytest.fixture
def pictures(rows, tmp_path):
    for each in rows:
        Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(tmp_path / picture_name(each))
    return tmp_path


def captions(page):
    """Return the titles of the strips, without their remarks."""
    return [image["alt"].partition(". Evenly")[0] for image in page.images]


@pytest.fixture
def page(report, rows, pictures):
    return ParsedPage(evaluation_page(report, rows, MANIFEST, pictures))


def test_the_page_opens_offline_and_every_picture_has_a_text(page):
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert all("source, driving, result, <other>" in image["alt"] for image in page.images)


def test_best_median_and_worst_are_by_what_is_saved_of_copying(page):
    assert captions(page) == [
        "Best: a.mp4 (by time)",
        "Median: c.mp4",
        "Worst: b.mp4",
        "Best transfer: a.mp4 (by time) animates z.mp4",
        "Median transfer: b.mp4 animates z.mp4",
        "Worst transfer: c.mp4 animates z.mp4",
    ]


def test_a_figure_has_the_clips_it_shows_as_id_and_their_numbers_as_remark(page):
    assert list(page.figures)[::3] == ["a-whole", "a-whole--z-whole"]
    assert page.figures["a-whole"]["caption"].endswith("L1 0.0100, +50.0% against copying")
    assert page.figures["a-whole--z-whole"]["caption"].endswith("CSIM 0.800, Motion 0.010, MKR 0.250")


def test_means_are_in_the_table_of_their_protocol_with_their_intervals(report, rows, pictures):
    page = ParsedPage(evaluation_page(report, rows, MANIFEST, pictures))
    facts = page_facts(report, rows, MANIFEST, pictures)
    head, *lines = page.tables["Means over clips, cross-identity"]
    assert head == ["model", "CSIM ↑", "Motion ↓"]
    assert lines == [["this model", "0.800 0.720 to 0.880", "0.020 0.018 to 0.022"]]
    reconstruction = facts.reconstruction
    assert [column.title for column in reconstruction.columns] == [
        "model", "L1 ↓", "PSNR, dB ↑", "SSIM ↑", "LPIPS ↓", "AKD, px ↓"
    ]  # fmt: skip
    assert [row.cells[0] for row in reconstruction.rows] == ["this model", "copying the source", "<other>"]
    assert [row.is_emphasised for row in reconstruction.rows] == [True, False, False]
    assert reconstruction.rows[0].cells[5].text == "1.23"
    assert reconstruction.rows[1].cells[5] == "—"


def test_every_clip_and_model_has_a_row(page):
    head, *lines = page.tables["Reconstruction"]
    assert head[:4] == ["clip", "by", "frames", "L1 ↓"]
    assert head[-1] == "Saved ↑"
    assert len(lines) == 9
    assert lines[0] == [
        "a.mp4 (by time)", "this model", "4", "0.0100", "30.00", "0.900", "0.100", "1.50", "—", "—", "+50.0%"
    ]  # fmt: skip
    assert lines[1][-1] == "—"
    assert page.tables["Transfer"][1][:4] == ["a.mp4 (by time)", "this model", "z.mp4", "4"]


def test_published_rows_are_beside_ours_with_their_protocols(page):
    head, *lines = page.tables["Published numbers and ours"]
    for published, line in zip(PUBLISHED, lines, strict=False):
        values = dict(zip(head, line, strict=True))
        assert values["method"] == published.method
        assert values["PSNR, dB ↑"] == published.psnr
        assert values["LPIPS ↓"] == published.lpips
        assert (values["source"], values["protocol"]) == (published.source, published.protocol)
    ours = lines[len(PUBLISHED)]
    assert ours[0] == "this model"
    assert ours[-1].startswith(
        "3 held-out clips, 12 frames, 64 px, 25 fps, fomm_square, split in part by time"
    )
    assert "shards 1234567890ab" in ours[-1]
    assert "landmarks by dlib 68, identity by dlib 128-d" in ours[-1]
    assert "Numbers of different protocols are not comparable." in page.text


def test_fid_and_what_is_missing_are_shown(page):
    assert page.tables["Distances of sets"][1] == [
        "this model", "FID", "reconstruction", "12.35", "12 × 3", "inception.pt, sha256 abababababab"
    ]  # fmt: skip
    assert "FVD no <network>" in page.text
    assert "AED no face" in page.text
    assert "2 clips have no named identity" in page.text


def test_lists_shards_and_weights_are_named_by_their_hashes(page):
    for digest in ("fedcba" * 8, "1234567890abcdef" * 4, "aa" * 32, "bb" * 32):
        assert digest in page.text
    assert ", version 7" in page.text


def test_a_skipped_protocol_is_named_with_its_reason(report, rows, pictures):
    skipped = [{"what": "cross_identity", "reason": "one identity only"}]
    rows = [each for each in rows if each["protocol"] == "reconstruction"]
    page = ParsedPage(evaluation_page(report | {"skipped": skipped}, rows, MANIFEST, pictures))
    assert "Left out: one identity only." in page.text
    assert len(page.figures) == 3


def test_transfers_are_shown_without_landmarks_too(report, rows, pictures):
    bare = [each | {"motion": None, "csim": None, "mkr": None, "akd": None} for each in rows]
    summary = [one for one in report["summary"] if one["metric"] in ("l1", "lpips", "psnr", "ssim")]
    changed = report | {"summary": summary, "measured_by": []}
    page = ParsedPage(evaluation_page(changed, bare, MANIFEST, pictures))
    assert captions(page)[3:] == [f"Pair transfer: {clip} animates z.mp4" for clip in (
        "a.mp4 (by time)", "b.mp4", "c.mp4"
    )]  # fmt: skip
    assert "no landmark model" in page.text
    assert "Nothing was computed; the reasons are below." in page.text


def test_clips_of_one_file_are_told_apart():
    rows = [{"clip": f"k-{n}", "url": "http://host/a.mp4", "by_time": False} for n in range(2)]
    assert clip_names(rows) == {"k-0": "a.mp4 0", "k-1": "a.mp4 1"}


def test_what_is_left_out_is_gathered_by_reason():
    skipped = [{"what": what, "reason": "none"} for what in ("akd", "fid")]
    assert left_out([*skipped, {"what": "cross_identity", "reason": "alone"}]) == {
        "none": ["AKD", "FID"],
        "alone": ["cross-identity"],
    }


def test_fewer_values_have_fewer_ranks():
    assert best_median_worst({}) == []
    assert best_median_worst({"a": 1}) == [("Only", "a")]
    assert best_median_worst({"a": 1, "b": 2}) == [("Best", "b"), ("Worst", "a")]
