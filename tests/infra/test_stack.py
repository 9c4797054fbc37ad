import json
import logging
import socket
import stat
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from infra.stack.credentials import Credentials
from infra.stack.members import members
from infra.stack.plan import Plan, Service, StackError
from infra.stack.postgresql_programs import may_enter, packaged_programs
from infra.stack.processes import running, start_all, stop_all
from infra.stack.prometheus import configuration
from infra.stack.services import NAMES, define_services
from infra.stack.settings import StackSettings, read_settings
from tests.conftest import CHECKOUT
from tests.ports import free_port

ENV_FILE = CHECKOUT / "infra/stack.env"


@pytest.fixture
def plan(tmp_path):
    return Plan(
        CHECKOUT, tmp_path, read_settings(ENV_FILE), Credentials.ensure(tmp_path / "credentials.json")
    )


def sleeper(**changes):
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    return replace(Service("sleeper", "the sleeper", command, is_ready=lambda: True), **changes)


def test_the_file_sets_every_setting():
    lines = [line for line in ENV_FILE.read_text().splitlines() if line and not line.startswith("#")]
    given = {line.split("=")[0] for line in lines}
    assert given == {f"STACK_{name.upper()}" for name in StackSettings.model_fields}


def test_a_variable_comes_before_the_file(monkeypatch):
    monkeypatch.setenv("STACK_MLFLOW_PORT", "12345")
    assert read_settings(ENV_FILE).mlflow_url() == "http://127.0.0.1:12345"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("STACK_S3_PORT=99999", "STACK_S3_PORT"),
        ("STACK_S3_PROT=1", "STACK_S3_PROT"),
        ("STACK_S3_BUCKET=Not_A_Bucket", "STACK_S3_BUCKET"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, line, told):
    file = tmp_path / "stack.env"
    file.write_text(f"{ENV_FILE.read_text()}{line}\n")
    with pytest.raises(ValueError, match=f"^{told} in .*stack.env") as error:
        read_settings(file)
    assert "\n" not in str(error.value)


def test_ports_of_the_services_differ(plan):
    ports = [port for service in define_services(plan) for port in service.ports.values()]
    assert len(set(ports)) == len(ports)


def test_services_have_the_names_by_which_they_are_ended(plan):
    assert tuple(service.name for service in define_services(plan)) == NAMES


def test_no_secret_is_in_a_command(plan):
    words = json.dumps([service.command for service in define_services(plan)])
    assert not [secret for secret in plan.credentials.model_dump().values() if secret in words]
    assert not [secret for secret in plan.credentials.model_dump().values() if secret in repr(plan)]


def test_a_file_of_other_credentials_is_refused_without_its_secrets(tmp_path):
    path = tmp_path / "credentials.json"
    path.write_text('{"postgres_password": "hidden"}')
    with pytest.raises(
        ValueError, match=r"credentials.json, s3_key_id: Field required; restore the file"
    ) as error:
        Credentials.ensure(path)
    assert "hidden" not in str(error.value)


def test_prometheus_reads_what_runs_at_the_ports_of_the_settings(plan):
    jobs = {job["job_name"]: job for job in configuration(plan)["scrape_configs"]}
    assert jobs["serve"]["static_configs"] == [{"targets": [f"127.0.0.1:{plan.settings.serve_port}"]}]
    assert jobs["prefect"]["static_configs"] == [{"targets": [f"127.0.0.1:{plan.settings.prefect_port}"]}]
    assert set(jobs) == {"serve", "prefect", "ray"}


def test_the_packaged_postgresql_may_be_run_by_others(tmp_path):
    # As below pytest's folder, which only its owner may enter.
    assert not may_enter(tmp_path)
    programs = packaged_programs(tmp_path)
    done = subprocess.run([programs / "postgres", "--version"], text=True, capture_output=True, check=True)
    assert done.stdout.startswith("postgres (PostgreSQL)")


def test_credentials_are_made_once_and_for_their_owner_alone(tmp_path):
    path = tmp_path / "credentials.json"
    made = Credentials.ensure(path)
    assert Credentials.ensure(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_taken_port_is_told_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", free_port())) as server:
        service = sleeper(ports={"STACK_MLFLOW_PORT": server.getsockname()[1]})
        with pytest.raises(StackError, match=r"is taken by another program: .* set STACK_MLFLOW_PORT"):
            start_all([service], tmp_path, tmp_path, {})
    assert not running(["sleeper"], tmp_path)


def test_a_part_that_is_left_out_is_told_and_does_not_run(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    start_all([sleeper(why_left_out=lambda: "no pillow")], tmp_path, tmp_path, {})
    assert caplog.messages == ["without the sleeper: no pillow"]
    assert not running(["sleeper"], tmp_path)


def test_a_part_that_runs_with_other_ports_is_not_taken_for_the_wanted_one(tmp_path):
    first, second = free_port(), free_port()
    start_all([sleeper(ports={"STACK_MLFLOW_PORT": first})], tmp_path, tmp_path, {})
    try:
        wanted = f"^the sleeper runs with STACK_MLFLOW_PORT={first}, not with STACK_MLFLOW_PORT={second}: "
        with pytest.raises(ValueError, match=wanted):
            start_all([sleeper(ports={"STACK_MLFLOW_PORT": second})], tmp_path, tmp_path, {})
    finally:
        stop_all(["sleeper"], tmp_path)


def test_a_program_that_ends_is_told_by_its_last_line(tmp_path):
    service = sleeper(command=(sys.executable, "-c", "print('no such disk')"), is_ready=lambda: False)
    with pytest.raises(StackError, match=r"^the sleeper ended at once \(no such disk\): see .*sleeper.log$"):
        start_all([service], tmp_path, tmp_path, {})


@pytest.mark.parametrize("session", ["start_new_session=True", "start_new_session=False"])
def test_services_end_with_children_that_outlive_them(tmp_path, session):
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    program = f"import subprocess, sys; subprocess.Popen({child}, {session}); print('started', flush=True)"
    start_all(
        [
            sleeper(
                command=(sys.executable, "-c", f"{program}; import time; time.sleep(60)"),
                is_ready=lambda: "started" in (tmp_path / "sleeper.log").read_text(),
            )
        ],
        tmp_path,
        tmp_path,
        {},
    )
    parent = psutil.Process(json.loads((tmp_path / "sleeper.json").read_text())["pid"])
    (orphan,) = parent.children()
    parent.kill()
    parent.wait(10)
    assert members(["sleeper"], tmp_path) == [orphan]
    assert stop_all(["sleeper"], tmp_path) == []
    assert not orphan.is_running()
    assert not members(["sleeper"], tmp_path)
