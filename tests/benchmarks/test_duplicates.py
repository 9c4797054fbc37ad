import numpy as np
import pytest
import yaml

from preprocessing.settings import ShardsSettings
from tests.benchmarks.duplicates import compare_others, describe, halve, sign
from tests.conftest import CHECKOUT
from tests.preprocessing.clips.made_up_clip import make_signature

LEAST = 0.6


def test_pairs_of_one_recording_are_not_among_those_of_different_ones():
    clips = {"a": make_signature("nods"), "b": make_signature("nods"), "c": make_signature("turns")}
    alike = compare_others(clips, {"a": "one", "b": "two", "c": "three"})["clips of different recordings"]
    assert (len(alike), sum(value >= LEAST for value in alike)) == (3, 1)
    told = compare_others(clips, {"a": "one", "b": "one", "c": "three"})["clips of different recordings"]
    assert (len(told), sum(value >= LEAST for value in told)) == (2, 0)


def test_halves_are_the_whole_clip_and_have_no_time_in_common():
    clip = make_signature("nods")
    first, second = halve(clip)
    assert first.times_s[-1] < second.times_s[0]
    assert np.array_equal(np.concatenate([first.looks, second.looks]), clip.looks)


@pytest.mark.parametrize(("num_pairs", "limit"), [(100, "2.95%"), (374, "0.80%")])
def test_the_limit_of_a_rate_without_errors_is_three_over_the_pairs(num_pairs, limit):
    said = describe("pairs", [0.29] * num_pairs, LEAST)
    assert f"0 of {num_pairs} pairs" in said
    assert f"at most {limit}" in said
    assert "1 of 2 pairs" in describe("pairs", [0.6, 0.59], LEAST)


def test_two_recordings_of_real_people_and_halves_of_them_are_told_apart(
    samples, models, tmp_path, monkeypatch
):
    monkeypatch.chdir(models.parent)
    shipped = yaml.safe_load((CHECKOUT / "pipelines/presets/demo.yaml").read_text())["shards"]
    shipped["identity"]["models"] = None
    videos = {name: samples / f"{name}.mp4" for name in ("single_face", "WolfgangLanger_Pexels")}
    clips = sign(videos, tmp_path, ShardsSettings(**shipped))
    assert {key.split(".")[0] for key in clips} == set(videos)
    others = compare_others(clips, {key: key.split(".")[0] for key in clips})
    assert all(len(values) for values in others.values())
    assert max(max(others[what]) for what in ("clips of different recordings", "halves of one clip")) < LEAST
