import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import create_engine

from lia_model.registry import runs
from pipelines.environment import read_environment, sqlite_uri, variable_name
from pipelines.process import record_of
from preprocessing.storage.object_store import StoreError
from tests.conftest import CHECKOUT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").touch()
    return tmp_path


def test_every_home_of_a_tool_is_absolute_and_inside_the_project(root: Path) -> None:
    variables = read_environment(root, {}).tool_variables()
    for name in ("PREFECT_HOME", "DVC_SITE_CACHE_DIR", "MPLCONFIGDIR"):
        assert Path(variables[name]).is_relative_to(root)


def test_nothing_runs_means_no_addresses(root: Path) -> None:
    environment = read_environment(root, {})
    assert environment.prefect_api_url is None
    assert environment.ray_address is None
    assert "RAY_ADDRESS" not in environment.tool_variables()


def test_variables_set_ports_and_addresses(root: Path) -> None:
    environment = read_environment(root, {"LIA_SERVE_PORT": "8123", "LIA_RAY_ADDRESS": "10.0.0.1:6379"})
    assert environment.serve_port == 8123
    assert environment.tool_variables()["RAY_ADDRESS"] == "10.0.0.1:6379"


@pytest.mark.parametrize("port", ["http", "0", "70000"])
def test_a_bad_port_names_its_variable(root: Path, port: str) -> None:
    with pytest.raises(ValueError, match="LIA_PREFECT_PORT"):
        read_environment(root, {"LIA_PREFECT_PORT": port})


def test_a_misspelt_variable_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_environment(root, {"LIA_SAMPLE_PORT": "1"})
    assert "did you mean LIA_SAMPLES_PORT?" in caplog.text


@pytest.mark.parametrize("name", ["LIA_STORE_URL", "LIA_TRAIN_STORAGE_URL"])
@pytest.mark.parametrize("url", ["sftp://ann:s3cret@host/folder", "https://host/x?token=s3cret"])
def test_a_store_with_credentials_in_its_address_is_refused_without_showing_them(
    root: Path, url: str, name: str
) -> None:
    with pytest.raises(ValueError, match=rf"{name} is .* it holds credentials") as refused:
        read_environment(root, {name: url})
    assert "s3cret" not in str(refused.value)


def test_the_token_is_not_shown(root: Path) -> None:
    assert "secret" not in repr(read_environment(root, {"LIA_API_TOKEN": "secret"}))


def test_the_account_of_mlflow_is_not_in_the_address_that_mlflow_prints(root: Path) -> None:
    environment = read_environment(root, {"LIA_MLFLOW_TRACKING_URI": "http://ann:s3cret@host:5000"})
    variables = environment.tool_variables()
    assert variables["MLFLOW_TRACKING_URI"] == "http://host:5000"
    assert variables["MLFLOW_TRACKING_PASSWORD"] == "s3cret"
    assert "s3cret" not in repr(environment)


def test_an_empty_variable_counts_as_unset(root: Path) -> None:
    work = {"LIA_CORRELATION_ID": "work-7"}
    empty = {"LIA_SERVE_PORT": "", "LIA_API_TOKEN": "", "LIA_STORE_URL": "", "LIA_LOG_FORMAT": ""}
    assert read_environment(root, work | empty) == read_environment(root, work)
    assert read_environment(root, empty).api_token is None


def test_given_variables_replace_those_of_the_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIA_SERVE_PORT", "8123")
    assert read_environment(root, {}).serve_port == 8000
    assert read_environment(root).serve_port == 8123


def test_text_that_looks_like_json_stays_as_it_is(root: Path) -> None:
    assert read_environment(root, {"LIA_API_TOKEN": '{"a": 1}'}).api_token == '{"a": 1}'


@pytest.mark.parametrize("name", ["LIA_HOST", "LIA_PATHS", "LIA_ROOT"])
def test_neither_the_host_nor_the_paths_can_be_set(
    root: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = {"LIA_CORRELATION_ID": "work-7"}
    environment = read_environment(root, work | {name: "0.0.0.0"})
    assert environment == read_environment(root, work)
    assert environment.host == "127.0.0.1"
    assert f"{name} is set, but nothing reads it" in caplog.text


def test_every_port_is_listed_by_its_field(root: Path) -> None:
    ports = read_environment(root, {"LIA_RAY_PORT": "6380"}).ports()
    assert ports["ray_port"] == 6380
    assert set(ports) == {
        f"{name}_port" for name in ("samples", "prefect", "mlflow", "ray", "ray_dashboard", "serve")
    }


@pytest.mark.parametrize(("service", "field"), [("prefect", "prefect_api_url"), ("ray", "ray_address")])
def test_a_running_service_gives_its_address_unless_a_variable_names_another(
    root: Path, service: str, field: str
) -> None:
    folder = root / "runs" / "services"
    folder.mkdir(parents=True)
    record = record_of(os.getpid(), "http://127.0.0.1:4321")
    (folder / f"{service}.json").write_text(record.model_dump_json())
    assert getattr(read_environment(root, {}), field) == "http://127.0.0.1:4321"
    assert getattr(read_environment(root, {variable_name(field): "elsewhere"}), field) == "elsewhere"
    ended = record.model_copy(update={"started_s": record.started_s - 3600})
    (folder / f"{service}.json").write_text(ended.model_dump_json())
    assert getattr(read_environment(root, {}), field) is None


def test_activating_sets_the_variables_and_drops_addresses_of_another_project(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_ADDRESS": "10.0.0.1:6379", "OTHER": "kept"})
    environment = read_environment(root, {})
    environment.activate()
    work = {"LIA_CORRELATION_ID": environment.correlation_id}
    assert os.environ == {"OTHER": "kept", **environment.tool_variables(), **work}
    # What it starts is part of the same work.
    assert read_environment(root).correlation_id == environment.correlation_id
    assert (root / "runs" / "prefect").is_dir()


def test_activating_points_a_copied_store_at_the_copied_files_unless_another_store_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    (original / "params.yaml").touch()
    read_environment(original, {}).activate()
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    run = runs.open_run("one", original / "mlartifacts", {}, {})
    run.log_source_keys(["key"])
    shutil.copytree(original, copy)
    before = (copy / "mlflow.db").read_bytes()

    elsewhere = {"LIA_MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/other.db"}
    read_environment(copy, elsewhere).activate()
    assert (copy / "mlflow.db").read_bytes() == before
    read_environment(copy, {}).activate()
    original.rename(tmp_path / "gone")
    copied = runs.open_run("one", copy / "mlartifacts", {}, {})
    assert (copied.run_id, copied.source_keys()) == (run.run_id, {"key"})
    assert not original.exists()


@pytest.mark.parametrize("listed", [{}, {"no_proxy": "a.org, 127.0.0.1", "NO_PROXY": "b.org"}])
def test_loopback_is_exempt_from_proxies_beside_what_is_listed(root: Path, monkeypatch, listed) -> None:
    monkeypatch.setattr(os, "environ", {"http_proxy": "http://127.0.0.1:9", **listed})
    variables = read_environment(root, {}).tool_variables()
    hosts = variables["NO_PROXY"].split(",")
    assert variables["no_proxy"] == variables["NO_PROXY"]
    assert {"127.0.0.1", "localhost", "::1"} <= set(hosts)
    assert len(hosts) == len(set(hosts)) == 3 + 2 * bool(listed)
    assert bool(listed) == ({"a.org", "b.org"} <= set(hosts))


CLIENTS = """
import sys, urllib.request, httpx, requests
from yt_dlp import YoutubeDL
url, wanted = sys.argv[1], sys.argv[2] == "reached"
def reach(get):
    try:
        return get() is not None
    except Exception:
        return False
def download():
    return YoutubeDL({"quiet": True, "logger": None}).urlopen(url).read()
clients = {
    "urllib": lambda: urllib.request.urlopen(url).read(),
    "httpx": lambda: httpx.get(url).raise_for_status(),
    "requests": lambda: requests.get(url).raise_for_status() or True,
    "yt-dlp": download,
}
print([name for name, get in clients.items() if reach(get) != wanted])
"""


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_with_a_dead_proxy_the_tools_reach_loopback(root: Path, samples_url, monkeypatch, name) -> None:
    own = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    monkeypatch.setattr(os, "environ", own | {name: "http://127.0.0.1:9"})
    exempt = os.environ | read_environment(root, {}).tool_variables()
    for variables, wanted in ((dict(os.environ), "refused"), (exempt, "reached")):
        command = [sys.executable, "-c", CLIENTS, f"{samples_url}/no_face.mp4", wanted]
        done = subprocess.run(
            command, env=variables, cwd=CHECKOUT, text=True, capture_output=True, timeout=120
        )
        wrong = done.stdout.strip()
        # urllib does not know all_proxy.
        assert wrong in ("[]", "['urllib']" if (name, wanted) == ("all_proxy", "refused") else "[]"), (
            done.stderr
        )


@pytest.mark.parametrize("name", ["a%41b", "a?b", "a#b", "ä b", "a%3Fb"])
def test_the_tracking_uri_opens_the_file_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine = create_engine(sqlite_uri(folder / "mlflow.db"))
    with engine.connect() as database:
        database.exec_driver_sql("CREATE TABLE t (x)")
    engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_copied_project_does_not_use_the_services_of_the_original(root: Path, tmp_path: Path) -> None:
    folder = root / "runs" / "services"
    folder.mkdir(parents=True)
    record = record_of(os.getpid(), "http://127.0.0.1:4321", folder)
    (folder / "prefect.json").write_text(record.model_dump_json())
    assert read_environment(root, {}).prefect_api_url == "http://127.0.0.1:4321"
    copy = root / "copy"
    shutil.copytree(folder, copy / "runs" / "services")
    (copy / "params.yaml").touch()
    assert read_environment(copy, {}).prefect_api_url is None


def ray_variables(environment) -> dict[str, str]:
    return {
        name: value for name, value in environment.tool_variables().items() if name.startswith("RAY_AUTH")
    }


def test_our_own_ray_wants_a_token_unless_a_variable_says_otherwise(root: Path) -> None:
    token = str(root / "runs/ray/auth_token")
    assert ray_variables(read_environment(root, {})) == {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": token,
    }
    assert (
        ray_variables(read_environment(root, {"LIA_RAY_AUTH_MODE": "disabled"}))["RAY_AUTH_MODE"]
        == "disabled"
    )
    with pytest.raises(ValueError, match="LIA_RAY_AUTH_MODE is 'off'"):
        read_environment(root, {"LIA_RAY_AUTH_MODE": "off"})


def test_our_running_head_keeps_the_projects_token(root: Path) -> None:
    folder = root / "runs" / "services"
    folder.mkdir(parents=True)
    (folder / "ray.json").write_text(record_of(os.getpid(), "127.0.0.1:6379").model_dump_json())
    own = read_environment(root, {})
    assert own.ray_address == "127.0.0.1:6379"
    assert ray_variables(own)["RAY_AUTH_MODE"] == "token"
    assert ray_variables(read_environment(root, {"LIA_RAY_ADDRESS": "10.0.0.1:6379"})) == {}


def test_files_are_exchanged_through_the_store_with_another_cluster_alone(root: Path) -> None:
    store = {"LIA_STORE_URL": f"file://{root}/store"}
    folder = root / "runs" / "services"
    folder.mkdir(parents=True)
    (folder / "ray.json").write_text(record_of(os.getpid(), "127.0.0.1:6379").model_dump_json())
    assert read_environment(root, store).shared_store_url is None
    theirs = {"LIA_RAY_ADDRESS": "10.0.0.1:6379"}
    assert read_environment(root, theirs | store).shared_store_url == store["LIA_STORE_URL"]
    assert read_environment(root, theirs).shared_store_url is None


def test_another_clusters_token_is_the_users(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "s3cret", "RAY_AUTH_TOKEN_PATH": "/etc/ray"}
    monkeypatch.setattr(os, "environ", dict(theirs))
    read_environment(root, {"LIA_RAY_ADDRESS": "10.0.0.1:6379"}).activate()
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")} == theirs
    assert not (root / "runs/ray/auth_token").exists()
    # Ray would take it before the file.
    read_environment(root, {}).activate()
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_another_cluster_does_not_get_the_projects_token(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    read_environment(root, {}).activate()
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(root / "runs/ray/auth_token")
    read_environment(root, {"LIA_RAY_ADDRESS": "10.0.0.1:6379"}).activate()
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    assert not set(names) & set(os.environ)


def test_a_storage_of_checkpoints_that_cannot_be_read_is_named_with_its_variable(root: Path) -> None:
    read_environment(root, {}).check_train_storage()
    read_environment(root, {"LIA_TRAIN_STORAGE_URL": f"file://{root}/storage"}).check_train_storage()
    unknown = read_environment(root, {"LIA_TRAIN_STORAGE_URL": "nowhere://a"})
    with pytest.raises(StoreError, match="from LIA_TRAIN_STORAGE_URL nowhere://a"):
        unknown.check_train_storage()


def test_each_command_is_work_of_its_own_unless_it_is_part_of_another(root: Path) -> None:
    assert read_environment(root, {}).correlation_id != read_environment(root, {}).correlation_id
    assert read_environment(root, {"LIA_CORRELATION_ID": "work-7"}).correlation_id == "work-7"
    with pytest.raises(ValueError, match="LIA_CORRELATION_ID is 'a b'"):
        read_environment(root, {"LIA_CORRELATION_ID": "a b"})


def test_the_log_format_reaches_the_tools(root: Path) -> None:
    assert "RAY_LOGGING_CONFIG_ENCODING" not in read_environment(root, {}).tool_variables()
    variables = read_environment(root, {"LIA_LOG_FORMAT": "json"}).tool_variables()
    assert variables["RAY_LOGGING_CONFIG_ENCODING"] == "JSON"
    assert variables["PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"] == "json"
