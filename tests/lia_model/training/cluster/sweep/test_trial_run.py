import numpy as np
import pytest

from lia_model.checkpoints.best import BEST, read_best
from lia_model.registry.run_journal import entries
from lia_model.registry.run_sender import RunOpening
from lia_model.training.cluster.sweep.settings import SweepSettings
from lia_model.training.cluster.sweep.trial import Sweep, Trial
from lia_model.training.cluster.sweep.trial_run import require_metric, train_trial
from preprocessing.shards.manifest import data_digest, read_manifest
from tests.lia_model.shards_on_disk import write_shards


class EndedByTune(Exception):
    """Stands for the end of a trial's process at a report."""


@pytest.fixture
def make(train_settings, models, tmp_path):
    """Function that returns the first trial of a sweep in a folder of its own."""
    clips = [np.full((4, 32, 32, 3), grey, np.uint8) for grey in (60, 200, 90, 160)]
    write_shards(tmp_path / "shards", {"train": clips[:2], "test": clips[2:]}, 32)
    base = train_settings.model_dump(mode="json") | {"num_steps": 8, "validate_every_steps": 4}

    def make(name, metric, rates=(0.02,)):
        if "lpips" in metric:
            base["validation"]["lpips"] = str(models / "lpips_alex.safetensors")
        sweep = SweepSettings.model_validate(
            {
                "metric": metric,
                "mode": "min",
                "num_trials": 1,
                "num_parallel": 1,
                "grace_steps": 2,
                "reduction_factor": 2,
                "seed": 0,
                "space": {"train.optimizer.generator_lr": {"choice": list(rates)}},
            }
        )
        opening = RunOpening(name=name, artifacts=str(tmp_path), params={}, tags={})
        provenance = {"data_digest": data_digest(read_manifest(tmp_path / "shards"))}
        work = Sweep(sweep, base, tmp_path / "shards", None, name, tmp_path / name, provenance, opening)
        return Trial(work, 0)

    return make


def metrics_of(trial):
    """Every metric of every step that does not measure time or memory, in the journal's order."""
    return [
        (entry["step"], name, value)
        for entry, _ in entries(trial.journal)
        for name, value in entry.get("metrics", {}).items()
        if not name.startswith(("speed/", "system/")) and name != "validation/seconds"
    ]


def test_a_trial_is_scored_by_its_validations_and_proposes_the_best_weights(make, tmp_path):
    trial, reports = make("one", "validation/lpips"), []
    train_trial(trial, lambda *report: reports.append(report))
    assert [step for step, _ in reports] == [4, 8]
    step, score = min(reports, key=lambda one: one[1])
    outcome = trial.outcome()
    assert (outcome.step, outcome.released_step, outcome.score) == (step, step, score)
    assert (read_best(trial.folder).metric, read_best(trial.folder).score) == ("lpips", score)
    trial.copy_released(tmp_path / "released")
    weights = (tmp_path / "released" / "generator.safetensors").read_bytes()
    assert weights == (trial.folder / BEST / "generator.safetensors").read_bytes()
    again = []
    train_trial(trial, lambda *report: again.append(report))
    assert again == reports


def test_a_loss_scores_by_its_last_value_and_validation_chooses_the_weights(make):
    trial, reports = make("loss", "loss/l1"), []
    train_trial(trial, lambda *report: reports.append(report))
    assert [step for step, _ in reports] == [2, 4, 6, 8]
    outcome = trial.outcome()
    assert (outcome.step, outcome.score) == reports[-1]
    assert outcome.released_step == read_best(trial.folder).step


def test_a_trial_that_ends_at_two_reports_goes_on_as_if_it_had_not(make):
    whole, parts = make("whole", "validation/l1"), make("parts", "validation/l1")
    train_trial(whole, lambda *_: None)

    def until(end):
        def report(step, score):
            if step == end:
                raise EndedByTune

        return report

    for end in (4, 8):
        with pytest.raises(EndedByTune):
            train_trial(parts, until(end))
    seen = []
    train_trial(parts, lambda *report: seen.append(report))
    assert metrics_of(parts) == metrics_of(whole)
    assert sorted(set(seen)) == whole.scores
    assert read_best(parts.folder) == read_best(whole.folder)
    weights = [trial.checkpoints.latest() / "generator.safetensors" for trial in (whole, parts)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_trial_that_diverges_has_failed_and_proposes_nothing(make):
    trial, reports = make("diverged", "validation/l1", rates=(1e30,)), []
    train_trial(trial, lambda *report: reports.append(report))
    assert reports[-1][1] == float("inf")
    end, reason = trial.end
    assert end == "failed"
    assert "nan" in reason
    assert trial.outcome() is None


@pytest.mark.parametrize(
    ("metric", "changes", "reason"),
    [
        ("validation/l3", {}, "and shards validation/l1 are allowed: choose one of them, or .* loss/"),
        ("loss/lpips", {}, "loss/l1, loss/generator_adversarial, .* or of those that begin with validation/"),
        (
            "validation/l1",
            {"validate_every_steps": 0},
            "nothing would be validated: set train",
        ),
    ],
)
def test_a_metric_that_trainings_do_not_have_is_refused(make, train_settings, metric, changes, reason):
    trial = make("refused", metric)
    with pytest.raises(ValueError, match=reason):
        require_metric(trial.work.sweep, trial.settings.model_copy(update=changes), trial.work.shards)


def test_the_highest_distance_is_not_the_best(make):
    trial = make("max", "validation/l1")
    with pytest.raises(ValueError, match="the smaller a result of the validation, the better: write min"):
        require_metric(trial.work.sweep.model_copy(update={"mode": "max"}), trial.settings, trial.work.shards)
