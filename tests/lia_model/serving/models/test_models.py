"""A service with a real registry: jobs ask for versions, aliases move, the registry goes away."""

import threading
import time

import mlflow
import numpy as np
import pytest

from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.registry import aliases, models, runs
from lia_model.registry.golden_pair import PATH_TAG, GoldenPair, log_golden_pair, require_golden_result
from lia_model.registry.licences import licence_tags, licences_in
from lia_model.registry.versions import versions_of
from lia_model.serving.jobs import RetryRules
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models import catalog
from lia_model.serving.models.catalog import ModelCatalog, Registered
from lia_model.serving.models.loaded import LoadedMarks, LoadedModels
from preprocessing.media.containers.container_tags import read_tags
from tests.lia_model.serving.live import LiveService, tiny_animator
from tests.lia_model.serving.service import assert_refused
from tests.ports import free_port

pytestmark = pytest.mark.slow
FIRST = ModelVersion(name="lia", version="1")


class RegistryService(LiveService):
    """Follows the champion; `is_silent` makes its registry fail."""

    is_silent = threading.Event()
    marks = None

    def catalog(self, version):
        def read():
            if self.is_silent.is_set():
                raise mlflow.MlflowException("away")
            return {one.version: Registered(one.aliases, licences_in(one.tags)) for one in versions_of("lia")}

        default = ModelVersion(name="lia", version=version)
        self.marks = LoadedMarks(self.root / "loaded")
        return ModelCatalog(default, "champion", read, self.marks.is_loaded, max_age_s=0.2)


def load(model, directory):
    animator = Animator.load(directory, device="cpu")
    # As the replica does, in a folder beside that of the models.
    golden_folder = directory.parents[2] / "golden"
    require_golden_result(model.name, model.version, golden_folder, animator.animate)
    return AnimationRun(animator, None, 4)


@pytest.fixture
def service(registry, tmp_path):
    aliases.set_alias("lia", "champion", "1")
    aliases.set_alias("lia", "challenger", "2")
    with RegistryService(tmp_path, rules=RetryRules(back_off_s=0.1, max_losses=2)).serving() as service:
        loaded = LoadedModels(load, tmp_path / "models", tmp_path / "golden", max_num=1)
        run = AnimationRun(tiny_animator(), None, 4)
        runner = JobRunner(service.jobs, run, FIRST, service.job_media, load=loaded.get)
        runner.start()
        service.loaded = loaded
        yield service
        runner.stop()
        service.is_silent.clear()


def made_by(service, **fields):
    """Return the version that a job's status and its video name."""
    link = service.submit(**fields)
    done = service.ended(link)
    assert done["status"] == "succeeded", done
    path = service.root / "made.mp4"
    path.write_bytes(service.client.get(f"{link}/video").content)
    assert read_tags(path)["model"] == f"models:/lia/{done['model']['version']}"
    return done["model"]["version"]


def test_jobs_are_animated_by_the_version_or_alias_that_they_name(service):
    words = {
        "lia/2": "2",
        "models:/lia/3": "3",
        "3": "3",
        "lia@challenger": "2",
        "@champion": "1",
        "lia": "1",
    }
    assert {word: made_by(service, model=word) for word in words} == words
    assert made_by(service) == "1"
    assert len(service.loaded.versions) == 1


def test_new_jobs_follow_an_alias_that_moves_while_older_ones_keep_their_version(service):
    older = [service.submit(), service.submit(model="@champion")]
    aliases.set_alias("lia", "champion", "3")
    deadline = time.monotonic() + 30
    while service.client.get("/v1/models").json()["models"] != [{"name": "lia", "version": "3"}]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (made_by(service), made_by(service, model="@champion")) == ("3", "3")
    assert [service.ended(link)["model"]["version"] for link in older] == ["1", "1"]


@pytest.mark.parametrize("word", ["lia/9", "9", "@gone", "other/1", "other@champion", "../1"])
def test_an_unknown_model_is_refused(service, word):
    assert_refused(service.post(model=word), 422, "bad_field", f"model: {word} is not served here")
    item = {"source": "a.png", "driving": "b.png", "model": word}
    answer = service.client.post("/v1/batches", json={"items": [item], "output": "out"})
    assert_refused(answer, 422, "bad_field", f"items.0.model: {word} is not served here")


def test_the_list_of_models_has_versions_aliases_and_which_are_loaded(service):
    service.marks.mark([FIRST])
    answer = service.client.get("/v1/models").json()
    assert answer["models"] == [{"name": "lia", "version": "1"}]
    told = [
        (one["version"], one["aliases"], one["is_default"], one["is_loaded"]) for one in answer["available"]
    ]
    assert told == [
        ("3", [], False, False),
        ("2", ["challenger"], False, False),
        ("1", ["champion"], True, True),
    ]


def test_the_list_of_models_names_the_licences_that_limit_their_use(service):
    licences = {"detector": "non-commercial research only", "data": "CC BY 4.0 (2 videos)"}
    models.tag_version("lia", "2", licence_tags(licences))
    deadline = time.monotonic() + 30
    while not any(one["licences"] for one in service.client.get("/v1/models").json()["available"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    told = {one["version"]: one["licences"] for one in service.client.get("/v1/models").json()["available"]}
    assert told == {"3": {}, "2": licences, "1": {}}


def test_versions_already_known_are_served_while_the_registry_is_silent(service):
    assert made_by(service, model="2") == "2"
    service.is_silent.set()
    time.sleep(0.3)
    assert made_by(service, model="@challenger") == "2"


def test_a_version_the_silent_registry_has_not_named_is_refused_for_now_alone(service):
    service.is_silent.set()
    answer = service.post(model="lia@challenger")
    assert_refused(answer, 503, "unavailable", "lia@challenger", "does not answer now", "try again")
    assert int(answer.headers["Retry-After"]) > 0
    assert made_by(service) == "1"
    assert_refused(service.post(model="other/1"), 422, "bad_field", "other/1 is not served here")
    service.is_silent.clear()
    time.sleep(0.3)
    assert made_by(service, model="lia@challenger") == "2"


def test_an_answer_that_comes_late_is_taken_once_it_has_come(monkeypatch):
    monkeypatch.setattr(catalog, "TIMEOUT_S", 0.05)
    may_answer, num_readings = threading.Event(), []

    def read():
        num_readings.append(1)
        may_answer.wait(20)
        return {"1": Registered(["champion"]), "2": Registered(["challenger"])}

    models = ModelCatalog(FIRST, "champion", read)
    with pytest.raises(catalog.RegistrySilentError):
        models.find("@challenger")
    may_answer.set()
    deadline_s = time.monotonic() + 20
    while len(models.available()) < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert models.find("@challenger") == (ModelVersion(name="lia", version="2"), True)
    assert len(num_readings) == 1


def test_a_version_that_cannot_be_loaded_is_tried_again_and_then_given_up(service, monkeypatch):
    service.client.get("/v1/models")
    store = mlflow.get_tracking_uri()
    try:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mlflow.set_tracking_uri(f"http://127.0.0.1:{free_port()}")
        link = service.submit(model="3")
        failed = service.ended(link)
    finally:
        mlflow.set_tracking_uri(store)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "model_unavailable")
    assert "models:/lia/3 cannot be read" in failed["error"]["message"]


def test_a_version_that_is_not_what_was_released_animates_nothing(service):
    rng = np.random.default_rng(0)
    source, *driving = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    pair = GoldenPair(source, np.stack(driving), "absolute", np.stack(driving), max_difference=2)
    run_id = runs.mlflow_client().get_model_version("lia", "2").run_id
    log_golden_pair(pair, "lia", "2", "held-0", runs.Run(run_id))
    failed = service.ended(service.submit(model="2"))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "model_unavailable")
    assert "models:/lia/2 gives another result for its golden pair" in failed["error"]["message"]
    runs.Run(run_id).delete_files([models.version_tag("lia", "2", PATH_TAG)])
    assert made_by(service, model="3") == "3"


def test_the_files_of_versions_not_used_for_longest_make_room(registry, tmp_path):
    loaded = LoadedModels(load, tmp_path / "models", tmp_path / "golden", max_num=2)
    versions = [ModelVersion(name="lia", version=str(number)) for number in (1, 2, 3)]
    for version in versions:
        loaded.get(version)
    assert loaded.versions == versions[1:]
    assert sorted(one.name for one in (tmp_path / "models/lia").iterdir()) == ["2", "3"]
