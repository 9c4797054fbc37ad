import pytest
import torch

from lia_model.checkpoints.best import BEST, Validated, copy_best, forget_best, keep_if_best, read_best
from lia_model.checkpoints.directory import CONFIG, GENERATOR, load_generator, read_config
from lia_model.networks.build import build_generator


def validated(step, score, list_sha256="a", metric="l1"):
    return Validated(step, metric, score, list_sha256)


def test_the_lowest_score_stays_whatever_comes_after(generator, tmp_path):
    scores = [0.5, 0.3, float("nan"), 0.3, 0.4, 0.2, 0.9]
    kept = [
        keep_if_best(tmp_path, generator, {}, validated(step, score)) for step, score in enumerate(scores)
    ]
    assert kept == [True, True, False, False, False, True, False]
    assert read_best(tmp_path) == validated(5, 0.2)


def test_weights_and_provenance_are_those_of_the_best(generator, network, tmp_path):
    other = build_generator(network, seed=7)
    keep_if_best(tmp_path, generator, {"run_id": "abc"}, validated(1, 0.1))
    keep_if_best(tmp_path, other, {"run_id": "abc"}, validated(2, 0.2))
    assert torch.equal(load_generator(tmp_path / BEST).motion.free, generator.motion.free)
    assert read_config(tmp_path / BEST).provenance["run_id"] == "abc"


def test_a_copy_has_the_files_without_their_hashes_and_damage_is_named(generator, tmp_path):
    keep_if_best(tmp_path / "run", generator, {}, validated(1, 0.1))
    copy_best(tmp_path / "run", tmp_path / "final")
    assert {path.name for path in (tmp_path / "final").iterdir()} == {CONFIG, GENERATOR}
    path = tmp_path / "run" / BEST / GENERATOR
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"best/generator.safetensors is not the file that training wrote"):
        copy_best(tmp_path / "run", tmp_path / "final")
    assert (tmp_path / "final" / GENERATOR).is_file()


@pytest.mark.parametrize("change", [{"list_sha256": "b"}, {"metric": "lpips"}])
def test_scores_on_other_pairs_or_of_another_metric_are_not_compared(generator, tmp_path, change):
    keep_if_best(tmp_path, generator, {}, validated(1, 0.1))
    assert keep_if_best(tmp_path, generator, {}, validated(2, 0.9, **change))


def test_nothing_is_best_before_a_validation_and_after_forgetting(generator, tmp_path):
    assert read_best(tmp_path) is None
    keep_if_best(tmp_path, generator, {}, validated(1, 0.1))
    forget_best(tmp_path)
    assert read_best(tmp_path) is None
