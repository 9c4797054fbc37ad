from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lia_model.evaluation.metric_table import PROTOCOL_METRICS
from lia_model.evaluation.page import (
    PUBLISHED,
    clip_names,
    evaluation_page,
    left_out,
    picture_name,
)

MANIFEST = {"size_px": 64, "fps": 25, "crop": {"rule": "fomm_square"}}
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


class Page(HTMLParser):
    """Text, attributes and the nesting of a page."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.addresses, self.words, self.captions = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if "figcaption" in self.open and "strong" in self.open:
            self.captions.append(data)


@pytest.fixture
def page(report, rows, pictures):
    page = Page(evaluation_page(report, rows, MANIFEST, pictures))
    assert page.open == []
    return page


def test_the_page_opens_offline_and_every_picture_has_a_text(page):
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert all("source, driving, result, <other>" in image["alt"] for image in page.images)


def test_best_median_and_worst_are_by_what_is_saved_of_copying(page):
    assert page.captions == [
        "Best: a.mp4 (by time)",
        "Median: c.mp4",
        "Worst: b.mp4",
        "Best transfer: a.mp4 (by time) animates z.mp4",
        "Median transfer: b.mp4 animates z.mp4",
        "Worst transfer: c.mp4 animates z.mp4",
    ]


def test_published_rows_stand_beside_ours_with_their_protocols(page):
    text = " ".join(page.words)
    for published in PUBLISHED:
        for word in (published.method, published.psnr, published.source, published.protocol):
            assert word in text
    assert "3 held-out clips, 12 frames, 64 px, 25 fps, fomm_square, split in part by time" in text
    assert "shards 1234567890ab" in text
    assert "landmarks by dlib 68, identity by dlib 128-d" in text
    assert "Numbers of different protocols are not comparable." in text


def test_intervals_fid_and_what_is_missing_are_told(page):
    text = " ".join(page.words)
    assert "0.0900 to 0.1100" in text
    assert "12.35" in text or "12.34" in text
    assert "inception.pt, sha256 abababababab" in text
    assert "no <network>" in text
    assert "no face" in text
    assert "2 clips name no identity" in text


def test_a_skipped_protocol_is_named_with_its_reason(report, rows, pictures):
    skipped = [{"what": "cross_identity", "reason": "one identity only"}]
    rows = [each for each in rows if each["protocol"] == "reconstruction"]
    page = Page(evaluation_page(report | {"skipped": skipped}, rows, MANIFEST, pictures))
    assert "Left out: one identity only." in page.words
    assert len(page.captions) == 3


def test_transfers_are_shown_without_landmarks_too(report, rows, pictures):
    bare = [each | {"motion": None, "csim": None, "mkr": None, "akd": None} for each in rows]
    summary = [one for one in report["summary"] if one["metric"] in ("l1", "lpips", "psnr", "ssim")]
    changed = report | {"summary": summary, "measured_by": []}
    page = Page(evaluation_page(changed, bare, MANIFEST, pictures))
    assert len(page.captions) == 6
    assert "no landmark model" in " ".join(page.words)


def test_clips_of_one_file_are_told_apart():
    rows = [{"clip": f"k-{n}", "url": "http://host/a.mp4", "by_time": False} for n in range(2)]
    assert clip_names(rows) == {"k-0": "a.mp4 0", "k-1": "a.mp4 1"}


def test_what_is_left_out_is_gathered_by_reason():
    skipped = [{"what": what, "reason": "none"} for what in ("akd", "fid")]
    assert left_out([*skipped, {"what": "cross_identity", "reason": "alone"}]) == {
        "none": ["AKD", "FID"],
        "alone": ["cross-identity"],
    }
