import subprocess
import sys

import mlflow
import pytest

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.registry import models as registry


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A real MLflow store, made once: its tables take seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    yield folder
    mlflow.set_tracking_uri(before)


def open_run(store, name):
    return registry.open_run(
        name, store / "artifacts", {"seed": 1, "network": {"width": 0.5}}, {"lia.commit": "abc"}
    )


def test_a_run_is_reopened_by_its_name(store):
    first, again, other = open_run(store, "one"), open_run(store, "one"), open_run(store, "two")
    assert first.run_id == again.run_id != other.run_id


def test_settings_are_logged_with_dotted_names(store):
    run = open_run(store, "one")
    assert registry.client().get_run(run.run_id).data.params == {"seed": "1", "network.width": "0.5"}


def test_a_step_logged_twice_counts_once(store):
    run = open_run(store, "history")
    run.log_metrics(1, {"loss/l1": 0.5})
    run.log_metrics(2, {"loss/l1": 0.4})
    run.log_metrics(2, {"loss/l1": 0.3})
    assert run.metric_history("loss/l1") == [(1, 0.5), (2, 0.3)]
    assert run.metric_names() == ["loss/l1"]


def test_a_data_set_is_named_on_the_run(store):
    run = open_run(store, "data")
    registry.log_dataset(run, "shards", "a" * 32 + ".dir", "data/shards", {"frames": 3})
    (entry,) = registry.client().get_run(run.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("shards", "a" * 32 + ".dir")


def test_a_wrong_model_uri_is_refused():
    with pytest.raises(ValueError, match="allowed are models:/NAME@ALIAS and models:/NAME/VERSION"):
        registry.parse_model_uri("models:/lia")


def test_an_alias_that_nothing_bears_says_what_to_do(store):
    with pytest.raises(ValueError, match="no model 'nobody' has the alias 'champion'"):
        registry.resolve("models:/nobody@champion")


@pytest.fixture(scope="module")
def version(store, tmp_path_factory):
    from lia_model.networks.build import build_generator
    from lia_model.settings import NetworkSettings

    folder = tmp_path_factory.mktemp("checkpoint") / "final"
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(folder, build_generator(settings, seed=1), {})
    run = open_run(store, "registered")
    version = registry.register("lia-test", folder, run.run_id, {"lia.commit": "abc"})
    registry.set_alias("lia-test", registry.CHAMPION, version)
    assert registry.version_of_run("lia-test", run.run_id) == version
    return version


def test_an_alias_and_a_version_lead_to_the_same_files(version):
    by_alias = registry.resolve("models:/lia-test@champion")
    assert by_alias == registry.resolve(f"models:/lia-test/{version}")
    assert (by_alias.name, by_alias.version) == ("lia-test", version)
    assert Animator.load("models:/lia-test@champion").size_px == 32


def test_tags_of_a_version_can_be_read_back(version):
    registry.tag_version("lia-test", version, {"lia.gate": "passed"})
    assert registry.version_tag("lia-test", version, "lia.gate") == "passed"
    assert registry.version_tag("lia-test", version, "lia.replaced") is None


@pytest.mark.slow
def test_a_version_loads_from_any_folder_without_the_checkout(version, tmp_path):
    program = (
        "import sys, numpy as np, mlflow, warnings\n"
        f"mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r})\n"
        "model = mlflow.pyfunc.load_model('models:/lia-test@champion')\n"
        "assert '/code/' in sys.modules['lia_model'].__file__, sys.modules['lia_model'].__file__\n"
        "image = np.zeros((1, 40, 40, 3), np.uint8)\n"
        "frames = model.predict({'source': image, 'driving': image.repeat(3, 0)})\n"
        "assert (frames.shape, frames.dtype) == ((3, 32, 32, 3), np.uint8)\n"
    )
    # -S -P and the site-packages folder alone: the editable install of this checkout is not on the path.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", f"import sys; sys.path.append({site!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
