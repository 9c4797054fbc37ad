import csv
from pathlib import Path

import pytest

from pipelines.demo import report as demo_report
from pipelines.demo import run as demo

ROW = {
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
    source, driving = demo.cut_demo_clip(samples / demo.CLIP, tmp_path)
    strip = demo_report.film_strip(source, driving, driving)
    assert strip.size == (demo_report.NUM_COLUMNS * demo_report.TILE_PX, 3 * demo_report.TILE_PX)


@pytest.mark.parametrize("num_losses", [1, 4])
def test_curves_are_drawn_for_every_loss_even_with_gaps(tmp_path: Path, num_losses: int) -> None:
    path = tmp_path / "train.csv"
    names = [f"loss/{number}" for number in range(num_losses)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", *names], [20, *[1.0] * num_losses], [40, *[""] * num_losses]])
    assert demo_report.training_curves(path).startswith(b"\x89PNG")
