import logging
from pathlib import Path

import pytest

from pipelines.environment import find_root, read_environment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").touch()
    return tmp_path


def test_the_root_is_found_from_any_folder_below(root: Path) -> None:
    below = root / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == root


def test_outside_a_project_the_error_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run lia inside the project's checkout"):
        find_root(tmp_path)


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


def test_the_token_is_not_shown(root: Path) -> None:
    assert "secret" not in repr(read_environment(root, {"LIA_API_TOKEN": "secret"}))


def test_rays_home_is_short_enough_for_its_sockets(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 30)
    root.mkdir()
    (root / "params.yaml").touch()
    home = read_environment(root, {}).ray_home
    socket = home / "session_2026-01-01_00-00-00_000000_1234567" / "sockets" / "plasma_store"
    assert len(str(socket).encode()) <= 107


def test_two_projects_have_two_ray_homes(tmp_path: Path) -> None:
    roots = [tmp_path / ("long" * 30) / name for name in ("a", "b")]
    for root in roots:
        root.mkdir(parents=True)
        (root / "params.yaml").touch()
    assert len({read_environment(root, {}).ray_home for root in roots}) == 2
