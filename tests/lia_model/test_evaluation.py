import json

import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.evaluation import evaluate, held_out_clips, mean_scores
from lia_model.settings import EvaluateSettings
from tests.lia_model.shards_on_disk import write_shards


@pytest.fixture
def shards(tmp_path):
    def clip(seed):
        # A slowly moving gradient: frames differ, but not much.
        rows = np.arange(32)[:, None] + np.arange(32)[None] + seed * 20
        return np.stack([np.repeat((rows + 8 * t)[..., None] % 256, 3, 2) for t in range(6)]).astype(np.uint8)

    write_shards(tmp_path, {"train": [clip(0)], "test": [clip(1), clip(2)]}, 32)
    return tmp_path


@pytest.fixture
def settings(models):
    return EvaluateSettings(
        batch_size=4, max_num_frames_per_clip=4, lpips=models / "lpips_alex.safetensors", precision="fp32"
    )


def test_long_clips_are_thinned_evenly_and_keep_both_ends(shards):
    items = list(held_out_clips(shards, 4))
    assert [item.frame_numbers for item in items] == [[0, 2, 3, 5]] * 2
    np.testing.assert_array_equal(items[0].source, items[0].frames[0])


def test_a_clip_that_follows_a_training_clip_takes_its_source_from_there(shards):
    manifest = json.loads((shards / "manifest.json").read_text())
    manifest["splits"]["test"]["clips"][0] |= {"follows": "train-0", "by_time": True}
    (shards / "manifest.json").write_text(json.dumps(manifest))
    first, second = held_out_clips(shards, 6)
    assert np.abs(first.source.astype(int) - first.frames[0]).mean() > 10
    np.testing.assert_array_equal(second.source, second.frames[0])


class CopyingAnimator(Animator):
    """Answers every driving frame with the source: the baseline, as a model."""

    def animate(self, source, driving, mode="relative", batch_size=16):
        return (source for _ in driving)


def test_a_model_that_copies_scores_exactly_what_copying_scores(shards, settings, generator):
    for score in evaluate(CopyingAnimator(generator, precision="fp32"), shards, settings):
        assert score.model == pytest.approx(score.copy_source, rel=1e-5)
        assert score.as_row()["improvement"] == 0
        assert score.model["l1"] > 0


def test_rows_and_means_name_every_metric_of_model_and_baseline(shards, settings, generator):
    seen = []
    scores = evaluate(
        Animator(generator, precision="fp32"),
        shards,
        settings,
        lambda score, item, result: seen.append((score.key, item.frames.shape, result.shape)),
    )
    assert seen == [(f"test-{n}", (4, 32, 32, 3), (4, 32, 32, 3)) for n in range(2)]
    mean = mean_scores(scores)
    assert mean["l1"] == pytest.approx(np.mean([score.model["l1"] for score in scores]))
    assert {"psnr", "ssim", "lpips", "copy_source_ssim", "improvement"} <= mean.keys()


def test_a_model_of_another_size_is_refused(shards, settings):
    from lia_model.networks.build import build_generator
    from lia_model.settings import NetworkSettings

    large = build_generator(NetworkSettings(size_px=64, width=0.02, latent_dim=16, num_directions=4))
    with pytest.raises(ValueError, match="makes 64 px images, the shards hold 32 px"):
        evaluate(Animator(large, precision="fp32"), shards, settings)
