import pickle
import tempfile

import numpy as np
import pytest
import ray
import torch
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from lia_model.checkpoints.best import BEST, read_best
from lia_model.checkpoints.directory import DISCRIMINATOR, GENERATOR, read_config
from lia_model.data.sharded_clips import ShardedClips
from lia_model.registry.run_journal import entries
from lia_model.training.cluster import worker
from lia_model.training.cluster.checkpoint_validation import RELEASED
from lia_model.training.cluster.failures import FailureWindow
from lia_model.training.cluster.run_storage import RAY_LIST, RunStorage
from lia_model.training.cluster.worker import Fit, fit
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.state import TRAINING, load_state, new_state
from lia_model.training.stop import TrainingStopped
from lia_model.training.tracking.run_logger import TRACE
from preprocessing.shards.manifest import data_digest, read_manifest
from tests.lia_model.shards_on_disk import write_shards

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cluster(s3):
    """A private Ray, in a folder short enough for its sockets, whose workers reach the object store."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in (s3 | {"RAY_USAGE_STATS_ENABLED": "0"}).items():
            patch.setenv(name, value)
        ray.init(num_cpus=4, _temp_dir=folder, _node_ip_address="127.0.0.1", log_to_driver=False)
        yield
        ray.shutdown()


def digest_of(folder):
    return data_digest(read_manifest(folder / "shards"))


def write_noise(folder):
    """Write shards of noise."""
    clips = list(np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8))
    write_shards(folder / "shards", {"train": clips}, 32)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, many and changing
def test_two_workers_train_as_one_and_a_second_fit_resumes(cluster, train_settings, tmp_path):
    write_noise(tmp_path)
    settings = train_settings.model_copy(update={"num_workers": 2, "global_batch_size": 8, "num_steps": 3})

    def fit_for(num_steps):
        return fit(
            Fit(
                settings=settings.model_copy(update={"num_steps": num_steps}),
                shards=tmp_path / "shards",
                data_digest=digest_of(tmp_path),
                store_url=None,
                storage=RunStorage(str(tmp_path / "storage"), "fit"),
                result=tmp_path / "result",
                provenance={"run_id": "abc"},
                journal=tmp_path / "journal",
                with_profile=num_steps > 6,
            )
        )

    checkpoint = fit_for(3)
    assert read_config(checkpoint / RELEASED).provenance["run_id"] == "abc"

    # One process with all micro-batches takes the same steps but for the order of its sums.
    start, alone, resumed = (new_state(settings, 32, CPU) for _ in range(3))
    clips = ShardedClips(tmp_path / "shards", "train")
    run(alone, build_loader(clips, settings), settings, Hooks())
    load_state(resumed, checkpoint)
    assert resumed.step == 3
    before, expected, got = (
        state.generator.motion_head.layers[0].weight for state in (start, alone, resumed)
    )
    assert (got - expected).norm() < 1e-3 * (expected - before).norm()

    later = fit_for(6)
    load_state(resumed, later)
    assert resumed.step == 6

    # A driver that was killed while Ray wrote its list of checkpoints.
    (tmp_path / "storage/fit" / RAY_LIST).write_text("{")
    load_state(resumed, fit_for(12))
    assert resumed.step == 12
    lines = [line for line, _ in entries(tmp_path / "journal")]
    assert [line["step"] for line in lines if "metrics" in line] == [2, 3, 4, 6, 8, 10, 12]
    (trace,) = (tmp_path / "storage/fit/profile").iterdir()
    assert trace.name == "steps-00000012-00000012.json.gz"
    (told,) = (line["content"] for line in lines if line.get("text") == TRACE)
    assert str(trace) in told
    assert {"system/rank_0/cpu_percent", "system/rank_1/cpu_percent"} < lines[0]["metrics"].keys()
    assert any((tmp_path / "journal").rglob("strip*.png"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, many and changing
def test_a_run_that_diverges_ends_once_and_keeps_its_last_checkpoint(cluster, train_settings, tmp_path):
    write_noise(tmp_path)
    # The first update gives weights of 1e30, with which the second step overflows.
    optimizer = train_settings.optimizer.model_copy(update={"generator_lr": 1e30})
    settings = train_settings.model_copy(
        update={"num_workers": 2, "micro_batch_size": 2, "optimizer": optimizer, "checkpoint_every_steps": 1}
    )
    storage = RunStorage(str(tmp_path / "storage"), "fit")
    work = Fit(
        settings,
        tmp_path / "shards",
        digest_of(tmp_path),
        None,
        storage,
        tmp_path / "result",
        {},
        tmp_path / "journal",
    )
    # Workers that are started again, and fail again, end in Ray's TrainingFailedError.
    with pytest.raises(TrainingStopped, match=r"was nan at step 2; .* the checkpoint before it stands"):
        fit(work)
    (kept,) = (path for path in (tmp_path / "storage/fit").glob("checkpoint_*") if path.is_dir())
    resumed = new_state(settings, 32, CPU)
    load_state(resumed, kept)
    assert resumed.step == 1


def killed_before_step(step, rank, mark):
    """Return what the workers run: the real training, but `rank` kills itself once before an update."""

    def train_worker(config):
        import os
        import signal

        import ray.train

        from lia_model.training import loop

        take_step = loop.training_step

        def training_step(*images, step, **others):
            if step == at and ray.train.get_context().get_world_rank() == rank and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return take_step(*images, step=step, **others)

        at, loop.training_step = step, training_step
        # In the worker's process this is the real one.
        return worker._train_worker(config)

    return train_worker


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, many and changing
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_a_run_with_a_killed_worker_ends_bit_for_bit_like_one_without(
    cluster, train_settings, tmp_path, monkeypatch, num_workers
):
    write_noise(tmp_path)
    settings = train_settings.model_copy(
        update={
            "num_workers": num_workers,
            "global_batch_size": 8,
            "micro_batch_size": 2,
            "num_steps": 4,
            "checkpoint_every_steps": 2,
        }
    )

    def fit_in(storage):
        home = tmp_path / storage
        place = RunStorage(str(home), "fit")
        shards, digest = tmp_path / "shards", digest_of(tmp_path)
        return fit(Fit(settings, shards, digest, None, place, home / "result", {}, home / "journal"))

    whole = fit_in("whole")
    mark = tmp_path / "killed"
    monkeypatch.setattr(worker, "_train_worker", killed_before_step(3, num_workers - 1, mark))
    resumed = fit_in("resumed")
    assert mark.exists()
    for name in (GENERATOR, DISCRIMINATOR, TRAINING):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, many and changing
def test_a_run_is_resumed_from_an_object_store_as_from_a_folder(
    cluster, s3, train_settings, tmp_path, monkeypatch
):
    write_noise(tmp_path)
    for name, value in s3.items():
        monkeypatch.setenv(name, value)

    def fit_in(place, num_steps):
        settings = train_settings.model_copy(update={"num_steps": num_steps})
        result, journal = tmp_path / "result", tmp_path / f"journal-{num_steps}"
        shards, digest = tmp_path / "shards", digest_of(tmp_path)
        return fit(Fit(settings, shards, digest, None, RunStorage(place, "fit"), result, {}, journal))

    whole = fit_in(str(tmp_path / "storage"), 6)
    url = f"{s3['LIA_STORE_URL']}/training"
    fit_in(url, 3)
    resumed = fit_in(url, 6)
    assert resumed == tmp_path / "result"
    for name in (GENERATOR, DISCRIMINATOR, TRAINING):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, many and changing
def test_checkpoints_are_validated_in_tasks_and_the_best_is_kept(cluster, train_settings, tmp_path):
    clips = [np.full((4, 32, 32, 3), grey, np.uint8) for grey in (60, 200, 90, 160)]
    write_shards(tmp_path / "shards", {"train": clips[:2], "test": clips[2:]}, 32)
    # The last steps destroy what the first have learned.
    rate = train_settings.optimizer.model_copy(update={"generator_lr": 0.5, "warmup_steps": 300})
    settings = train_settings.model_copy(
        update={"num_steps": 24, "validate_every_steps": 8, "optimizer": rate, "num_kept_checkpoints": 1}
    )
    storage = RunStorage(str(tmp_path / "storage"), "fit")
    provenance = {"run_id": "abc"}
    shards, digest = tmp_path / "shards", digest_of(tmp_path)
    last = fit(Fit(settings, shards, digest, None, storage, tmp_path / "r", provenance, tmp_path / "j"))
    lines = [line for line, _ in entries(tmp_path / "j")]
    scores = {
        line["step"]: line["metrics"]["validation/l1"]
        for line in lines
        if "validation/l1" in line.get("metrics", {})
    }
    assert scores.keys() == {8, 16, 24}
    best = read_best(tmp_path / "storage/fit")
    assert best is not None
    assert best.score == min(scores.values()) == scores[best.step] < scores[24]
    assert read_config(tmp_path / "storage/fit" / BEST).provenance["run_id"] == "abc"
    # The best is kept beside the last checkpoint, which alone Ray keeps.
    state = new_state(settings, 32, CPU)
    load_state(state, last)
    assert state.step == 24
    assert {line["picture"] for line in lines if "picture" in line} >= {
        "validation_same_person",
        "validation_other_person",
        "validation_directions",
    }
    assert any("test-0" in line.get("content", "") for line in lines)


def test_a_start_that_times_out_after_lost_workers_is_not_counted_again():
    window = FailureWindow()
    lost = WorkerGroupError("lost", {0: RuntimeError("connection reset"), 1: RuntimeError("node died")})
    # As it comes from the actor that controls the workers.
    late = pickle.loads(pickle.dumps(ControllerError(WorkerGroupStartupTimeoutError(2))))
    for error in (lost, late, lost):
        worker._count(window, error, 0)
    assert window.count == 2
