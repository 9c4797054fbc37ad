"""The commands of compose and Kubernetes, against the programs that they run: every option has to exist."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pipelines.commands.served_application import Arguments, application
from tests.conftest import CHECKOUT
from tests.infra.files.test_compose import COMPOSE, load
from tests.infra.files.test_kubernetes import FOLDER, containers, named, training
from tests.infra.kuberay import cluster_of
from tests.infra.kustomize import build

PROGRAMS = {"lia", "mlflow", "prefect", "ray", "weed"}
UNKNOWN = "--not-an-option"


def split(words):
    """Return the commands of a container: its own, or those of its shell script."""
    if words[0] != "sh":
        return [words]
    script = words[2].replace("\\\n", " ").replace("&&", "\n").replace("exec ", "")
    return [shlex.split(line) for line in script.splitlines()]


def commands():
    """Return all commands of our own image as tuples of words."""
    found = [one["command"] for one in load(COMPOSE)["services"].values() if "command" in one]
    base = build(FOLDER / "base")
    for one in containers(base):
        found.append([*one.get("command", []), *one.get("args", [])])
    for one in base:
        cluster = cluster_of(one["spec"]) if one["kind"] in {"RayCluster", "RayService"} else None
        groups = [] if cluster is None else [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
        found += [
            [
                "ray",
                "start",
                *(word for name, value in group["rayStartParams"].items() for word in (f"--{name}", value)),
            ]
            for group in groups
        ]
    found.append(["sh", "-c", training()["spec"]["entrypoint"]])
    single = [one for words in found if words for one in split(words)]
    return sorted({tuple(one) for one in single if one and one[0] in PROGRAMS})


def printed(*words):
    program = Path(sys.executable).parent / words[0]
    done = subprocess.run([program, *words[1:]], text=True, capture_output=True, timeout=120, cwd=CHECKOUT)
    return done.stdout + done.stderr


def test_all_programs_are_found():
    assert {words[0] for words in commands()} == PROGRAMS


@pytest.mark.slow
def test_every_option_exists():
    for words in commands():
        if words[0] == "prefect":
            shown = printed(*words, "--help")
            missing = [word for word in words if word.startswith("--") and word.split("=")[0] not in shown]
            assert not missing, words
        else:
            # The first unknown option is named, and that has to be ours.
            message = printed(*words, UNKNOWN if words[0] != "weed" else UNKNOWN[1:])
            assert UNKNOWN.strip("-") in message, (words, message)


def serve_config():
    (service,) = named(build(FOLDER / "base"), "RayService").values()
    return yaml.safe_load(service["spec"]["serveConfigV2"])


def test_serve_takes_the_configuration_of_the_service():
    config = ServeDeploySchema.model_validate(serve_config())
    (deployed,) = config.applications
    assert deployed.import_path == f"{application.__module__}:{application.__name__}"
    assert Arguments.model_validate(deployed.args).port == 8000
