"""Projects with a real MLflow store, moved and copied."""

import os
import shutil
import sqlite3
from contextlib import closing

import mlflow
import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.registry import aliases, models, runs
from lia_model.registry.locations import adopt_artifacts

NAME = "lia-moved"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project's folder with a run and the champion registered from it; a space needs quoting in URIs."""
    return tmp_path_factory.mktemp("made") / "my project"


@pytest.fixture
def original(made, generator, tracking, tmp_path):
    """The project, at a place of its own for each test."""
    if not made.exists():
        made.mkdir()
        tracking(made)
        run = runs.open_run("first", made / "mlartifacts", {"seed": 1}, {})
        run.log_source_keys(["key"])
        save_generator(made / "checkpoint", generator, {})
        version = models.register(NAME, made / "checkpoint", run.run_id, {})
        aliases.set_alias(NAME, aliases.CHAMPION, version)
    # As if it had been made there.
    folder = tmp_path / "original"
    shutil.copytree(made, folder)
    adopt_artifacts(folder / "mlflow.db", folder / "mlartifacts")
    return folder


@pytest.fixture
def tracking():
    """Function that makes a folder's store MLflow's."""
    before = mlflow.get_tracking_uri()
    yield lambda folder: mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_tracking_uri(before)


def tables(folder):
    with closing(sqlite3.connect(folder / "mlflow.db")) as db:
        return list(db.iterdump())


def mentions(folder, text):
    return [line for line in tables(folder) if str(text) in line]


def weights(uri):
    return Animator.load(uri).generator.motion.free.detach().numpy()


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_store_elsewhere_reads_and_writes_its_own_files_alone(made, original, tracking, tmp_path, is_moved):
    other = tmp_path / "other" / "place"
    other.parent.mkdir()
    wanted = weights(original / "checkpoint")
    (original.rename if is_moved else lambda to: shutil.copytree(original, to))(other)
    (former, *_) = adopt_artifacts(other / "mlflow.db", other / "mlartifacts")
    assert former == f"{original.as_uri()}/"
    assert not mentions(other, original)
    assert not mentions(other, made.parent)
    if not is_moved:
        original.rename(tmp_path / "out of reach")
    before = list((tmp_path / "out of reach").rglob("*"))

    tracking(other)
    found = models.resolve(f"models:/{NAME}@champion")
    assert found.directory.is_relative_to(other / "mlartifacts")
    np.testing.assert_array_equal(weights(f"models:/{NAME}@champion"), wanted)
    pyfunc = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert pyfunc.metadata.run_id == runs.open_run("first", other / "mlartifacts", {}, {}).run_id
    assert runs.open_run("first", other / "mlartifacts", {}, {}).source_keys() == {"key"}

    new = runs.open_run("second", other / "mlartifacts", {}, {})
    new.log_source_keys(["more"])
    version = models.register(NAME, other / "checkpoint", new.run_id, {})
    assert models.resolve(f"models:/{NAME}/{version}").directory.is_relative_to(other / "mlartifacts")
    assert not original.exists()
    assert list((tmp_path / "out of reach").rglob("*")) == before


def test_a_copy_leaves_the_originals_store_as_it_was(original, tmp_path):
    before = tables(original)
    shutil.copytree(original, tmp_path / "copy")
    adopt_artifacts(tmp_path / "copy/mlflow.db", tmp_path / "copy/mlartifacts")
    assert tables(original) == before
    assert adopt_artifacts(original / "mlflow.db", original / "mlartifacts") == []
    assert tables(original) == before


def test_a_neighbour_whose_name_starts_alike_stays_where_it_is(original, tmp_path):
    beside = f"{original.as_uri()}-2/artifacts"
    with closing(sqlite3.connect(original / "mlflow.db")) as db, db:
        db.execute("UPDATE model_versions SET source = ?", (beside,))
    shutil.copytree(original, tmp_path / "copy")
    adopt_artifacts(tmp_path / "copy/mlflow.db", tmp_path / "copy/mlartifacts")
    assert mentions(tmp_path / "copy", beside)


@pytest.mark.parametrize("location", ["s3://bucket/mlartifacts", "file:///elsewhere/artifacts", None])
def test_an_experiment_whose_files_were_never_in_the_project_is_left_alone(original, tmp_path, location):
    with closing(sqlite3.connect(original / "mlflow.db")) as db, db:
        db.execute("UPDATE experiments SET artifact_location = ?", (location,))
    before = tables(original)
    assert adopt_artifacts(original / "mlflow.db", tmp_path / "copy" / "mlartifacts") == []
    assert tables(original) == before


def test_a_missing_a_linked_and_an_empty_store_are_left_alone(original, tmp_path):
    assert adopt_artifacts(tmp_path / "none.db", tmp_path / "mlartifacts") == []
    (tmp_path / "linked.db").symlink_to(original / "mlflow.db")
    assert adopt_artifacts(tmp_path / "linked.db", tmp_path / "mlartifacts") == []
    (tmp_path / "empty.db").touch()
    assert adopt_artifacts(tmp_path / "empty.db", tmp_path / "mlartifacts") == []
    assert not mentions(original, tmp_path / "mlartifacts")


def test_a_store_that_cannot_be_read_is_named_in_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" + os.urandom(4096))
    with pytest.raises(ValueError, match=r"got .*mlflow\.db, which .* cannot be changed"):
        adopt_artifacts(tmp_path / "mlflow.db", tmp_path / "mlartifacts")
