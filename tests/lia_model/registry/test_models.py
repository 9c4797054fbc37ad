import subprocess
import sys

import mlflow
import pytest

from lia_model.animator import Animator
from lia_model.registry import models


def test_a_wrong_model_uri_is_refused():
    with pytest.raises(ValueError, match="allowed are models:/NAME@ALIAS and models:/NAME/VERSION"):
        models.parse_model_uri("models:/lia")


def test_an_alias_that_nothing_bears_says_what_to_do(store):
    with pytest.raises(ValueError, match="no model 'nobody' has the alias 'champion'"):
        models.resolve("models:/nobody@champion")


def test_an_alias_and_a_version_lead_to_the_same_files(version):
    by_alias = models.resolve("models:/lia-test@champion")
    assert by_alias == models.resolve(f"models:/lia-test/{version}")
    assert (by_alias.name, by_alias.version) == ("lia-test", version)
    assert Animator.load("models:/lia-test@champion").size_px == 32


def test_a_version_that_keeps_its_checkpoint_as_an_artifact_is_found_too(version):
    folder = models.resolve("models:/lia-test@champion").directory.parent
    # As earlier installations registered it.
    earlier = folder.rename(folder.with_name("artifacts"))
    try:
        found = models.resolve("models:/lia-test@champion").directory
        assert Animator.load(found).size_px == 32
        assert found.parent == earlier
    finally:
        earlier.rename(folder)


def test_tags_of_a_version_can_be_read_back(version):
    models.tag_version("lia-test", version, {"lia.gate": "passed"})
    assert models.version_tag("lia-test", version, "lia.gate") == "passed"
    assert models.version_tag("lia-test", version, "lia.replaced") is None


@pytest.mark.slow
def test_a_version_loads_from_any_folder_without_the_checkout(version, tmp_path):
    program = (
        "import sys, numpy as np, mlflow, warnings\n"
        f"mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r})\n"
        "model = mlflow.pyfunc.load_model('models:/lia-test@champion')\n"
        "for name in ('lia_model', 'preprocessing'):\n"
        "    assert '/code/' in sys.modules[name].__file__, sys.modules[name].__file__\n"
        "image = np.zeros((1, 40, 40, 3), np.uint8)\n"
        "frames = model.predict({'source': image, 'driving': image.repeat(3, 0)})\n"
        "assert (frames.shape, frames.dtype) == ((3, 32, 32, 3), np.uint8)\n"
    )
    # -I and -S ignore PYTHONPATH and this checkout's editable install; only site-packages is put back.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    bare = (
        f"import sys; sys.path.append({site!r})\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('lia_model') is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", bare + program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
