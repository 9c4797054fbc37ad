import dataclasses
from pathlib import Path

import pytest

from pipelines.project_paths import ProjectPaths, find_root


def test_the_root_is_found_from_any_folder_below(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == tmp_path


def test_the_nearest_of_nested_projects_counts(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for root in (tmp_path, inner):
        (root / "params.yaml").touch()
    assert find_root(inner) == inner


def test_outside_a_project_the_error_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run lia inside the project's checkout"):
        find_root(tmp_path)


def test_every_path_of_a_project_is_below_its_root(tmp_path: Path) -> None:
    names = [name for name, value in vars(ProjectPaths).items() if isinstance(value, property)]
    assert {"tombstones", "raw", "shards", "checkpoints", "services"} <= set(names)
    root = Path("/p")
    assert all(getattr(ProjectPaths(root), name).is_relative_to(root) for name in names)


def test_the_journals_of_trainings_sweeps_and_their_trials_are_found(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made = [runs / "train/a/mlflow", runs / "sweep/b/mlflow", runs / "sweep/b/trials/000/mlflow"]
    for folder in made:
        folder.mkdir(parents=True)
    assert set(ProjectPaths(tmp_path).journals()) == set(made)


def test_the_paths_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ProjectPaths(tmp_path).root = tmp_path / "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_rays_home_is_short_enough_for_its_sockets(tmp_path: Path) -> None:
    home = ProjectPaths(tmp_path / ("long" * 30)).ray_home
    socket = home / "session_2026-01-01_00-00-00_000000_1234567" / "sockets" / "plasma_store"
    assert len(str(socket).encode()) <= 107


def test_two_projects_have_two_ray_homes(tmp_path: Path) -> None:
    roots = [tmp_path / ("long" * 30) / name for name in ("a", "b")]
    assert len({ProjectPaths(root).ray_home for root in roots}) == 2
