import base64
import io

import numpy as np
import pytest
from PIL import Image

from lia_model.evaluation.page_pictures import (
    best_median_worst,
    pair_strip,
    picture_name,
    reconstruction_strips,
    strip_labels,
    transfer_strips,
)
from tests.lia_model.evaluation.made_up_report import make_row, save_pictures


def opened(strip):
    media_type, _, data = strip.picture.partition(";base64,")
    assert media_type == "data:image/jpeg"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_reconstructions_are_ranked_by_what_they_save_of_copying(report, rows, pictures):
    strips = reconstruction_strips(report, rows, pictures)
    assert [(strip.shows, strip.title, strip.remark) for strip in strips] == [
        ("a-whole", "Best: a.mp4 (by time)", "L1 0.0100, +50.0% against copying"),
        ("c-whole", "Median: c.mp4", "L1 0.0300, +30.0% against copying"),
        ("b-whole", "Worst: b.mp4", "L1 0.0200, +10.0% against copying"),
    ]


def test_transfers_are_ranked_by_motion_distance_the_lowest_first(report, rows, pictures):
    strips = transfer_strips(report, rows[::-1], pictures)
    assert [(strip.shows, strip.title, strip.remark) for strip in strips] == [
        (
            f"{clip}-whole--z-whole",
            f"{rank} transfer: {name} animates z.mp4",
            f"CSIM 0.800, Motion {motion}, MKR 0.250",
        )
        for clip, rank, name, motion in (
            ("a", "Best", "a.mp4 (by time)", "0.010"),
            ("b", "Median", "b.mp4", "0.020"),
            ("c", "Worst", "c.mp4", "0.030"),
        )
    ]  # fmt: skip


@pytest.mark.parametrize("num_clips", [0, 1, 3, 5])
def test_transfers_without_a_motion_distance_are_the_first_few(report, tmp_path, num_clips):
    rows = [make_row(clip, "model", "cross_identity", csim=0.8) for clip in "vwxyz"[:num_clips]]
    save_pictures(rows, tmp_path)
    strips = transfer_strips(report, rows, tmp_path)
    assert [strip.title for strip in strips] == [
        f"Pair transfer: {clip}.mp4 animates z.mp4" for clip in "vwx"[:num_clips]
    ]
    assert all(strip.remark == "CSIM 0.800, Motion —, MKR —" for strip in strips)


def test_a_transfer_without_a_motion_distance_has_no_rank_among_others(report, rows, pictures):
    for row in rows:
        if row["clip"] == "a-whole":
            row["motion"] = None
    shown = [strip.shows for strip in transfer_strips(report, rows, pictures)]
    assert shown == ["b-whole--z-whole", "c-whole--z-whole"]


@pytest.mark.parametrize("num", range(8))
def test_ranks_are_the_ends_and_the_middle_of_the_order_whatever_the_order_of_the_keys(num):
    random = np.random.default_rng(num)
    values = {f"k{place}": float(value) for place, value in enumerate(random.permutation(num))}
    ranked = best_median_worst(values)
    assert [rank for rank, _ in ranked] == [[], ["Only"], ["Best", "Worst"], ["Best", "Median", "Worst"]][
        min(num, 3)
    ]
    if num > 1:
        found = [values[key] for _, key in ranked]
        assert (found[0], found[-1]) == (num - 1, 0)
        assert num < 3 or found[1] == (num - 1) // 2


def test_pictures_of_different_pairs_have_different_names(rows):
    pairs = {(row["protocol"], row["clip"], row["source_clip"]) for row in rows}
    assert len({picture_name(row) for row in rows}) == len(pairs) == 6


def test_the_rows_of_a_picture_are_the_models_with_weights(report):
    assert strip_labels(report) == ["source", "driving", "result", "<other>"]


def test_a_strip_shows_the_picture_of_its_file(tmp_path):
    colours = np.repeat(np.repeat(np.array([[[200, 30, 90], [20, 220, 40]]], np.uint8), 16, 0), 16, 1)
    # Transparency and its like are no reason to fail.
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "k-0--m-1.png")
    strip = pair_strip(tmp_path / "k-0--m-1.png", "title", "remark", ["source", "driving"])
    assert (strip.shows, strip.title, strip.remark) == ("k-0--m-1", "title", "remark")
    assert strip.row_labels == ["source", "driving"]
    assert np.abs(opened(strip).astype(int) - colours).max() < 12
