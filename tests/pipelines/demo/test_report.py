import base64
import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipelines.demo import report as demo_report
from pipelines.demo import walkthrough
from tests.parsed_page import ParsedPage

ROW = {
    "clip": "a-whole",
    "url": "http://127.0.0.1/a.mp4",
    "by_time": True,
    "num_frames": 118,
    "l1": 0.02,
    "copy_source_l1": 0.04,
    "improvement": 0.5,
    "psnr": 30.0,
    "ssim": 0.9,
    "lpips": 0.1,
}


def test_the_table_compares_with_copying_and_says_what_the_split_is() -> None:
    text = demo_report.evaluation_table({"clips": [ROW]})
    assert "a.mp4 (by time)" in text
    assert "50.0%" in text
    assert "not identity-disjoint" in text


def test_the_strip_has_three_rows_of_eight_tiles(samples: Path, tmp_path: Path) -> None:
    source, driving = walkthrough.cut_demo_clip(samples / walkthrough.CLIP, tmp_path)
    strip = demo_report.film_strip(source, driving, driving)
    assert strip.shape == (3 * demo_report.TILE_PX, demo_report.NUM_COLUMNS * demo_report.TILE_PX, 3)


def test_the_page_shows_the_animation_every_clip_the_curves_and_the_data(
    samples: Path, tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics"
    (metrics / "pictures").mkdir(parents=True)
    walkthrough.cut_demo_clip(samples / walkthrough.CLIP, tmp_path)
    shutil.copy(tmp_path / "driving.mp4", tmp_path / "animation.mp4")
    Image.new("RGB", (32, 48)).save(metrics / "pictures/a-whole.png")
    (metrics / "train.csv").write_text("step,loss/l1\n1,0.5\n2,0.25\n")
    models = [{"name": "model", "weights_sha256": "aa"}, {"name": "copy_source", "weights_sha256": None}]
    (metrics / "evaluate.json").write_text(json.dumps({"clips": [ROW], "models": models}))
    (tmp_path / "sheet.html").write_text('<p title="\'">sheet &amp; more</p>')
    demo_report.write_demo_report(metrics, tmp_path / "sheet.html", tmp_path, "not promoted: 1 < 2\nL1")
    html = (tmp_path / "report.html").read_text()
    page = ParsedPage(html)
    assert page.tables["The model beside copying the source"][1] == [
        "http://127.0.0.1/a.mp4", "by time", "118", "0.0200", "0.0400", "+50.0%", "30.00", "0.900", "0.100"
    ]  # fmt: skip
    assert list(page.figures) == ["animation", "a-whole"]
    assert page.figures["a-whole"]["caption"] == "a.mp4 (by time)"
    assert (
        page.images[1]["alt"] == "a.mp4 (by time). Evenly spaced frames in 3 rows: source, driving, result."
    )
    assert demo_report.BY_TIME in page.text
    assert "not promoted: 1 < 2" in page.text
    video, curves = page.addresses[1], page.addresses[-1]
    assert base64.b64decode(video.partition(",")[2]) == (tmp_path / "animation.mp4").read_bytes()
    assert base64.b64decode(curves.partition(",")[2]).startswith(b"\x89PNG")
    assert page.attributes["iframe"]["srcdoc"] == '<p title="\'">sheet &amp; more</p>'


@pytest.mark.parametrize("num_losses", [1, 4])
def test_curves_are_drawn_for_every_loss_even_with_gaps(tmp_path: Path, num_losses: int) -> None:
    path = tmp_path / "train.csv"
    names = [f"loss/{number}" for number in range(num_losses)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", *names], [20, *[1.0] * num_losses], [40, *[""] * num_losses]])
    assert demo_report.training_curves(path).startswith(b"\x89PNG")
