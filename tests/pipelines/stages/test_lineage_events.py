import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from pipelines.environment import read_environment
from pipelines.params import read_params
from pipelines.stages import lineage_events as module
from pipelines.stages.lineage_events import configured_client, lineage_events
from preprocessing.shards.manifest import data_digest, read_manifest
from tests.conftest import CHECKOUT

TOKEN = "ghp-not-for-others"


class Receiver:
    """A server on loopback that takes events as OpenLineage's API does, and refuses them if told to."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.status = 201
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/api/v1/lineage"
                receiver.headers.append(dict(self.headers))
                receiver.events.append(json.loads(body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's root, whose origin has a token in its URL, with no configuration of OpenLineage."""
    root = tmp_path / "films"
    (root / "data").mkdir(parents=True)
    (root / "params.yaml").write_bytes((CHECKOUT / "params.yaml").read_bytes())
    (root / "data/sources.csv").write_text("url\n")
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", f"https://bot:{TOKEN}@git.example/films.git"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--allow-empty", "-m", "start"],
    ):
        subprocess.run(["git", "-C", root, *command], check=True)
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(root)
    return root


def run_stage(root, work, stage="download"):
    params, environment = read_params(root / "params.yaml"), read_environment(root)
    with lineage_events(stage, params, environment) as outcome:
        work(outcome)


def require_valid(event):
    """Check an event by the client's own classes: they take it, and write the same."""
    from openlineage.client import event_v2, facet_v2
    from openlineage.client.serde import Serde

    kinds = {
        "tags": facet_v2.tags_run.TagsRunFacet,
        "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
        "jobType": facet_v2.job_type_job.JobTypeJobFacet,
        "sourceCodeLocation": facet_v2.source_code_location_job.SourceCodeLocationJobFacet,
        "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
        "dataSource": facet_v2.datasource_dataset.DatasourceDatasetFacet,
        "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    }

    def facets(found):
        made = {}
        for name, content in found.items():
            fields = {key: value for key, value in content.items() if not key.startswith("_")}
            made[name] = kinds[name](**fields, producer=content["_producer"])
            assert content["_schemaURL"] == kinds[name]._get_schema()
        return made

    def datasets(kind, found):
        return [
            kind(**{key: facets(value) if key.endswith("acets") else value for key, value in one.items()})
            for one in found
        ]

    again = event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"], facets(event["run"]["facets"])),
        job=event_v2.Job(event["job"]["namespace"], event["job"]["name"], facets(event["job"]["facets"])),
        inputs=datasets(event_v2.InputDataset, event["inputs"]),
        outputs=datasets(event_v2.OutputDataset, event["outputs"]),
    )
    assert Serde.to_dict(again) == event


def names(event, side):
    return [one["name"] for one in event[side]]


@pytest.mark.slow
def test_the_stages_of_a_project_tell_what_they_read_and_write_and_their_data_sets_join(
    new_project, samples_url, receiver
):
    project = new_project("lineage", sources=[f"{samples_url}/single_face.mp4,train"])
    project.set_params({"shards.quality.min_num_frames": 24, "shards.crop.size_px": 32})
    project.run("lia", "up", "prefect")
    project.variables.update({"OPENLINEAGE_URL": receiver.url, "OPENLINEAGE_API_KEY": TOKEN})
    project.run("lia", "download")
    project.run("lia", "shards")
    assert [(one["job"]["name"], one["eventType"]) for one in receiver.events] == [
        ("download", "START"), ("download", "COMPLETE"), ("shards", "START"), ("shards", "COMPLETE"),
    ]  # fmt: skip
    for event in receiver.events:
        require_valid(event)
        assert event["job"]["namespace"] == "project"
    assert all(headers["Authorization"] == f"Bearer {TOKEN}" for headers in receiver.headers)
    downloaded, made = receiver.events[1], receiver.events[3]
    assert names(downloaded, "inputs") == ["data/sources.csv", "data/tombstones.csv"]
    # The version too: the shards were made of what this download wrote.
    assert [made["inputs"][0][key] for key in ("name", "facets")] == [
        downloaded["outputs"][0][key] for key in ("name", "facets")
    ]
    manifest = read_manifest(project.root / "data/shards")
    (shards,) = made["outputs"]
    assert shards["name"] == f"data/shards/{data_digest(manifest)}"
    assert shards["facets"]["dataSource"]["uri"] == (project.root / "data/shards").as_uri()
    assert shards["outputFacets"]["outputStatistics"]["rowCount"] == manifest.splits.train.num_clips == 1
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    tags = {one["key"]: one["value"] for one in made["run"]["facets"]["tags"]["tags"]}
    assert tags["commit"].startswith(commit)
    assert len(tags["params_sha256"]) == 64
    assert "single_face" not in json.dumps(receiver.events)

    project.set_sources(["no-url,train"])
    refused = project.run("lia", "download", succeeds=False)
    assert refused.returncode == 2
    failed = receiver.events[-1]
    require_valid(failed)
    assert (failed["eventType"], failed["outputs"]) == ("FAIL", [])
    assert failed["run"]["facets"]["errorMessage"]["message"] in refused.stderr


def test_an_incomplete_stage_has_failed_and_an_interrupted_one_was_aborted(project, receiver, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)

    def stay_incomplete(outcome):
        outcome.exit_code = 1

    def interrupt(outcome):
        raise KeyboardInterrupt

    run_stage(project, stay_incomplete)
    with pytest.raises(KeyboardInterrupt):
        run_stage(project, interrupt)
    assert [one["eventType"] for one in receiver.events] == ["START", "FAIL", "START", "ABORT"]
    for started, ended in pairwise(receiver.events):
        same = started["run"]["runId"] == ended["run"]["runId"]
        assert same == (started["eventType"] == "START")


def test_no_password_is_in_an_event(project, receiver, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    monkeypatch.setenv("LIA_MLFLOW_TRACKING_URI", f"https://u:{TOKEN}@mlflow.example")

    def release(outcome):
        outcome.model_uri = "models:/lia/1"

    def fail(outcome):
        raise ValueError(f"https://u:{TOKEN}@host/v.mp4 cannot be read")

    run_stage(project, release, "release")
    with pytest.raises(ValueError, match="cannot be read"):
        run_stage(project, fail)
    assert receiver.events[1]["outputs"][0]["name"] == "models:/lia/1"
    assert TOKEN not in json.dumps(receiver.events)
    location = receiver.events[0]["job"]["facets"]["sourceCodeLocation"]
    assert location["url"] == "https://***@git.example/films.git"


@contextmanager
def silent_server():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def closed_port():
    yield "http://127.0.0.1:1"


@pytest.mark.parametrize("server", [closed_port, silent_server])
def test_an_outage_is_one_warning_and_delays_no_stage_for_long(project, server, monkeypatch, caplog):
    monkeypatch.setattr(module, "PATIENCE_S", 1.0)
    with server() as url:
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        run_stage(project, lambda _: None)
        started_s = time.monotonic()
        run_stage(project, lambda _: None)
        assert time.monotonic() - started_s < 20
    ours = [record for record in caplog.records if record.name == module.__name__]
    assert len(ours) == 2
    assert all("OpenLineage lacks events of this run" in record.message for record in ours)


def test_a_refusal_is_one_warning_that_names_it(project, receiver, monkeypatch, caplog):
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    receiver.status = 401
    run_stage(project, lambda _: None)
    (line,) = [record.message for record in caplog.records if record.name == module.__name__]
    assert "401" in line
    assert len(receiver.events) == 2


def test_an_openlineage_yml_of_the_project_counts(project):
    target = project / "events.json"
    (project / "openlineage.yml").write_text(
        f"transport:\n  type: file\n  log_file_path: {target}\n  append: true\n"
    )
    run_stage(project, lambda _: None)
    kinds = [json.loads(line)["eventType"] for line in target.read_text().splitlines()]
    assert kinds == ["START", "COMPLETE"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OPENLINEAGE_URL": "not a url"}, "Need valid url"),
        ({"OPENLINEAGE_CONFIG": "/nowhere/openlineage.yml"}, "no transport is named"),
        ({"OPENLINEAGE__TRANSPORT__TYPE": "pigeon"}, "pigeon"),
    ],
)
def test_a_configuration_that_is_wrong_is_one_warning(project, variables, reason, monkeypatch, caplog):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert configured_client(project, os.environ) is None
    (line,) = [record.message for record in caplog.records]
    assert reason in line


def test_without_a_configuration_the_library_is_not_even_imported(project):
    program = (
        "import os, sys; from pathlib import Path\n"
        "from pipelines.stages.lineage_events import configured_client\n"
        "assert configured_client(Path.cwd(), os.environ) is None\n"
        "disabled = {'OPENLINEAGE_URL': 'x', 'OPENLINEAGE_DISABLED': 'True'}\n"
        "assert configured_client(Path.cwd(), disabled) is None\n"
        "print([name for name in sys.modules if name.startswith(('openlineage', 'torch'))])"
    )
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]"
