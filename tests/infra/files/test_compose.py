"""The containers of infra/compose.yaml: the Compose specification, and what it leaves open."""

import re

import pytest
import yaml
from compose_spec import PyCompose

from pipelines.local.service_definitions import RAY_HEAD_VARIABLES
from tests.conftest import CHECKOUT
from tests.infra.monitoring import scrape_configs
from tests.infra.variables import SECRETS, interpolated, stack_variables, variables_in

COMPOSE = CHECKOUT / "infra/compose.yaml"
GPU = CHECKOUT / "infra/compose.gpu.yaml"
VALUES = stack_variables() | {name: name.lower() for name in SECRETS}


def load(path):
    return interpolated(yaml.safe_load(path.read_text()), VALUES)


@pytest.fixture(scope="module")
def compose():
    return load(COMPOSE)


@pytest.mark.parametrize("path", [COMPOSE, GPU], ids=lambda path: path.name)
def test_it_is_what_the_specification_allows(path):
    # Written anew, since its reader knows no merged mappings.
    PyCompose.from_yaml(yaml.safe_dump(load(path)))


def test_its_variables_are_those_of_the_stack_and_secrets_are_required():
    named, required = variables_in(COMPOSE.read_text())
    # Files of secrets name their variable without a dollar.
    of_files = set(re.findall(r"environment: (STACK_\w+)\}", COMPOSE.read_text()))
    # Two nodes on one machine need two addresses there; containers have their own.
    of_one_machine = {"STACK_RAY_HEAD_HOST", "STACK_RAY_WORKER_HOST"}
    assert named | of_files == (stack_variables().keys() - of_one_machine) | SECRETS
    assert required | of_files == SECRETS


def test_its_secrets_are_those_of_the_stack_and_those_of_what_the_stack_lacks():
    credentials = pytest.importorskip("infra.stack.credentials", reason="`make stack` is not there yet")
    of_the_stack = {f"STACK_{name.upper()}" for name in credentials.Credentials.model_fields}
    # The stack keeps Ray's token in a file of its own, and has no Grafana.
    assert SECRETS - of_the_stack == {"STACK_RAY_TOKEN", "STACK_METRICS_TOKEN", "STACK_GRAFANA_PASSWORD"}
    assert of_the_stack <= SECRETS


def test_no_secret_is_in_a_command(compose):
    for service in compose["services"].values():
        words = " ".join(map(str, service.get("command", [])))
        assert not [name for name in SECRETS if name.lower() in words]


def test_rays_head_notices_a_lost_node_as_fast_as_elsewhere(compose):
    name = "RAY_health_check_period_ms"
    assert compose["services"]["ray-head"]["environment"][name] == RAY_HEAD_VARIABLES[name]


def test_every_port_is_published_at_the_host_of_the_stack_alone(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith(f"{VALUES['STACK_HOST']}:") for port in ports)
    published = [port.split(":")[1] for port in ports]
    assert len(set(published)) == len(published)
    assert {value for name, value in VALUES.items() if name.endswith("_PORT")} <= set(published)


def test_what_a_service_names_is_there(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, wish in service.get("depends_on", {}).items():
            check = services[other].get("healthcheck", {})
            assert wish["condition"] != "service_healthy" or "test" in check, (name, other)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = (
                (COMPOSE.parent / source).exists() if source.startswith(".") else source in compose["volumes"]
            )
            assert known, volume
        for kind in ("configs", "secrets"):
            for one in service.get(kind, []):
                assert (one if isinstance(one, str) else one["source"]) in compose[kind]


def test_foreign_images_have_a_version_and_ours_are_built(compose):
    for service in compose["services"].values():
        if "build" in service:
            assert service["image"] == f"open-lia:{service['build']['target']}"
            assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", service["image"])


def test_prometheus_finds_the_services(compose):
    names = dict.fromkeys(compose["services"])
    aliases = [
        alias
        for service in compose["services"].values()
        for network in service.get("networks", {}).values()
        for alias in network["aliases"]
    ]
    for job in scrape_configs().values():
        (target,) = job["dns_sd_configs"]
        assert set(target["names"]) <= names.keys() | set(aliases)
    assert scrape_configs()["prefect"]["basic_auth"]["username"] == VALUES["STACK_PREFECT_USER"]
    mounted = {f"/run/secrets/{name}" for name in compose["services"]["prometheus"]["secrets"]}
    assert scrape_configs()["prefect"]["basic_auth"]["password_file"] in mounted
    assert scrape_configs()["serve"]["authorization"]["credentials_file"] in mounted


def test_the_store_is_told_the_same_keys_as_its_clients(compose):
    services = compose["services"]
    for name in ("s3", "bucket", "mlflow", "worker", "ray-head", "ray-worker", "serve"):
        assert services[name]["environment"]["AWS_SECRET_ACCESS_KEY"] == "stack_s3_secret", name
