import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.scores import (
    COPY_SOURCE,
    MODEL,
    EvaluatedModel,
    Instruments,
    evaluate,
)
from lia_model.evaluation.summary import clip_means
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from preprocessing.shards.manifest import CropFacts
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import write_shards


@pytest.fixture
def shards(tmp_path):
    def clip(seed):
        rows = np.arange(32)[:, None] + np.arange(32)[None] + seed * 20
        return np.stack([np.repeat((rows + 8 * t)[..., None] % 256, 3, 2) for t in range(6)]).astype(np.uint8)

    write_shards(tmp_path, {"train": [clip(0)], "test": [clip(1), clip(2)]}, 32)
    return tmp_path


@pytest.fixture
def settings(models, tmp_path):
    """Without face metrics: there are no faces in these clips."""
    faces = {"detector": models / "scrfd", "models": tmp_path, "min_score": 0.5, "max_num_frames_per_clip": 2}
    return evaluation_settings(models, faces=faces)


def measure(evaluated, shards, settings, **kwargs):
    reader = PairReader(shards)
    return evaluate(
        evaluated,
        reader,
        choose_pairs(reader, settings),
        Instruments.open(settings),
        settings.batch_size,
        **kwargs,
    )


class CopyingAnimator(Animator):
    """Answers every driving frame with the source: the baseline, as a model."""

    def animate(self, source, driving, mode="relative", batch_size=16):
        return (source for _ in driving)


def test_a_model_that_copies_scores_exactly_what_copying_scores(shards, settings, generator):
    evaluated = [
        EvaluatedModel(MODEL, CopyingAnimator(generator, precision="fp32")),
        EvaluatedModel(COPY_SOURCE, None),
    ]
    scores = measure(evaluated, shards, settings)
    for metric in ("l1", "psnr", "ssim", "lpips"):
        copied = clip_means(scores, "reconstruction", COPY_SOURCE, metric)
        assert clip_means(scores, "reconstruction", MODEL, metric) == pytest.approx(copied, rel=1e-5)
        assert len(copied) == 2
    assert all(score.values["l1"] > 0 for score in scores if score.pair.protocol == "reconstruction")


def test_every_pair_is_animated_in_its_own_mode_and_shown(shards, settings, generator):
    modes, seen = [], []

    class Recording(CopyingAnimator):
        def animate(self, source, driving, mode="relative", batch_size=16):
            modes.append(mode)
            return super().animate(source, driving, mode, batch_size)

    measure(
        [EvaluatedModel(MODEL, Recording(generator, precision="fp32"))],
        shards,
        settings,
        on_pair=lambda item, results, scores: seen.append(
            (item.pair.protocol, results[MODEL].shape, scores[0].as_row()["source_clip"])
        ),
    )
    assert modes == ["absolute", "relative"] * 2
    assert seen == [
        ("reconstruction", (4, 32, 32, 3), "test-0"),
        ("cross_identity", (2, 32, 32, 3), "test-1"),
        ("reconstruction", (4, 32, 32, 3), "test-1"),
        ("cross_identity", (2, 32, 32, 3), "test-0"),
    ]


def test_without_landmark_weights_pixels_are_measured_and_faces_named_as_left_out(shards, settings, caplog):
    instruments = Instruments.open(settings)
    assert {one.what for one in instruments.skipped} == {"akd", "mkr", "aed", "csim", "motion", "fid", "fvd"}
    assert sum("run `lia fetch models`" in record.message for record in caplog.records) == 1
    row = measure([EvaluatedModel(COPY_SOURCE, None)], shards, settings)[0].as_row()
    assert row["l1"] > 0
    assert row["akd"] is None


@pytest.mark.parametrize(
    ("rule", "scale", "is_told"),
    [("fomm_square", 1.2, False), ("fomm_square", 1.5, True), ("body", 1.2, True)],
)
def test_a_model_of_clips_cropped_otherwise_is_named(
    shards, settings, generator, caplog, rule, scale, is_told
):
    crop = CropFacts(rule=rule, scale=scale, outside="pad")
    animator = CopyingAnimator(generator, precision="fp32", crop=crop)
    measure([EvaluatedModel("mine", animator)], shards, settings)
    told = [record.message for record in caplog.records if "cropped by" in record.message]
    assert len(told) == is_told
    assert all(f"cropped by {rule}, scale {scale:g}" in message for message in told)


def test_the_gate_measures_without_lpips_and_names_it_as_left_out(shards, settings, tmp_path):
    instruments = Instruments.open_for_gate(settings.model_copy(update={"lpips": tmp_path / "none"}))
    assert "lpips" in {one.what for one in instruments.skipped}
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    assert instruments.compare(frames, frames, 2).keys() == {"l1", "psnr", "ssim"}


def test_a_loaded_model_carries_the_hash_of_its_weights(generator, settings, tmp_path):
    save_generator(tmp_path / "model", generator)
    save_generator(tmp_path / "other", build_generator(generator.settings, seed=2))
    loaded = [EvaluatedModel.load(name, tmp_path / name, settings) for name in ("model", "other", "model")]
    assert loaded[0].weights_sha256 == loaded[2].weights_sha256 != loaded[1].weights_sha256


def test_a_model_of_another_size_is_refused_by_name(shards, settings):
    large = build_generator(NetworkSettings(size_px=64, width=0.02, latent_dim=16, num_directions=4))
    with pytest.raises(ValueError, match="old makes 64 px images, the shards hold 32 px"):
        measure([EvaluatedModel("old", Animator(large, precision="fp32"))], shards, settings)
