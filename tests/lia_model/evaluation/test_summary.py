import numpy as np
import pytest

from lia_model.data.pair_list import Pair, SourceFrame
from lia_model.data.sharded_clips import ShardedClip
from lia_model.evaluation.scores import COPY_SOURCE, MODEL, Score
from lia_model.evaluation.summary import bootstrap_interval, clip_means, improvements, summarise


def make_clip(key):
    return ShardedClip(
        key=key, source_key=key, url="http://x", identity=None, by_time=False, follows=None, start_s=0.0,
        end_s=0.08, num_frames=2, index=0,
    )  # fmt: skip


def score(clip, model, protocol="reconstruction", source=None, **values):
    source = source or clip
    pair = Pair(
        protocol=protocol,
        mode="absolute",
        source=SourceFrame(split="test", clip=source, frame=0),
        driving=clip,
        frames=(0, 1),
        face_frames=(0,),
        sha256="",
    )
    return Score(pair, model, make_clip(clip), make_clip(source), values)


def test_a_mean_counts_each_clip_once_and_leaves_out_what_has_no_value():
    scores = [score("a", MODEL, akd=1.0), score("b", MODEL, akd=3.0), score("c", MODEL, akd=None)]
    entry = summarise(scores, 200, 0)[MODEL]["reconstruction"]["akd"]
    assert (entry["mean"], entry["num_clips"]) == (2, 2)
    assert 1 <= entry["low"] < entry["high"] <= 3


def test_sources_of_one_driving_clip_are_averaged_before_the_clips_are():
    cross = "cross_identity"
    scores = [
        score("a", MODEL, cross, "b", csim=0.0),
        score("a", MODEL, cross, "c", csim=1.0),
        score("b", MODEL, cross, "a", csim=0.9),
    ]
    assert clip_means(scores, cross, MODEL, "csim") == {"a": 0.5, "b": 0.9}
    assert summarise(scores, 200, 0)[MODEL][cross]["csim"]["mean"] == pytest.approx(0.7)


def test_one_clip_has_no_interval_and_a_metric_nobody_has_no_entry():
    summary = summarise([score("a", MODEL, l1=0.1, akd=None)], 200, 0)
    assert summary[MODEL]["reconstruction"] == {
        "l1": {"mean": 0.1, "low": None, "high": None, "num_clips": 1}
    }


def test_models_and_protocols_do_not_mix():
    scores = [score("a", MODEL, l1=0.1), score("a", COPY_SOURCE, l1=0.4), score("a", MODEL, "cross_identity")]
    summary = summarise(scores, 200, 0)
    assert summary[MODEL]["reconstruction"]["l1"]["mean"] == 0.1
    assert summary[COPY_SOURCE]["reconstruction"]["l1"]["mean"] == 0.4
    assert "cross_identity" not in summary[MODEL]


def test_improvement_is_the_share_of_copyings_error_that_is_saved():
    scores = [
        score("a", MODEL, l1=0.1),
        score("a", COPY_SOURCE, l1=0.4),
        score("still", MODEL, l1=0.1),
        score("still", COPY_SOURCE, l1=0.0),
    ]
    assert improvements(scores) == {"a": pytest.approx(0.75), "still": 0}
    assert np.mean(list(improvements(scores).values())) == pytest.approx(0.375)


def test_the_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(4)
    inside = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.normal(size=60), 400, seed=trial)
        inside += low <= 0 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_bootstrap_interval_is_repeatable_and_needs_two_values():
    values = np.array([1.0, 2.0, 4.0])
    assert bootstrap_interval(values, 100, 0) == bootstrap_interval(values, 100, 0)
    assert bootstrap_interval(np.full(5, 3.0), 100, 0) == (3, 3)
    assert bootstrap_interval(values[:1], 100, 0) is None
