"""What every test stands on: checked shapes, quiet threads, and real throw-away projects.

`new_project` makes a project like a user's clone: a copy of this checkout's files in its own git repository,
with the fetched models and samples in place, its own homes, and ports nobody else uses. Commands run in it as
a user would run them::

    def test_a_face_becomes_a_shard(new_project, samples_url):
        project = new_project("one-face", sources=[f"{samples_url}/single_face.mp4,train"])
        project.set_params({"train.num_steps": 4})
        project.run("dvc", "repro", "shards")
        assert (project.root / "data/shards/manifest.json").exists()

A project that started services (`lia up`) is stopped when the test session ends.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from jaxtyping import install_import_hook

from pipelines.ray_token import ensure_ray_token

# Before torch is imported: two spinning OpenMP pools starve each other on two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Importing Prefect creates its home, and matplotlib its own: not the user's, and one for each test process.
HOMES = Path(__file__).parents[1] / "runs" / "tests" / os.environ.get("PYTEST_XDIST_WORKER", "main")
for variable in ("PREFECT_HOME", "MPLCONFIGDIR"):
    os.environ[variable] = str(HOMES / variable.lower())
    (HOMES / variable.lower()).mkdir(parents=True, exist_ok=True)
# As in a project: Ray reads these when it is imported.
ensure_ray_token(HOMES / "ray" / "auth_token")
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN_PATH"] = str(HOMES / "ray" / "auth_token")
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ.pop("RAY_AUTH_TOKEN", None)
install_import_hook(
    ["lia_model", "preprocessing"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

CHECKOUT = Path(__file__).parents[1]
PORTS = ("SAMPLES", "PREFECT", "MLFLOW", "RAY", "RAY_DASHBOARD", "SERVE")


@pytest.fixture(autouse=True, scope="module")
def _scheduled_as_before():
    """Fail a module whose tests leave this process scheduled otherwise; see `tests.scheduling`."""
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before


@dataclass(frozen=True)
class Project:
    """A throw-away project and the shell environment its commands run in."""

    root: Path
    variables: dict[str, str] = field(repr=False)

    def run(
        self, *command: str, timeout_s: float = 300, succeeds: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in the project's root; the test fails if it does not end as `succeeds` says."""
        done = subprocess.run(
            command, cwd=self.root, env=self.variables, text=True, capture_output=True, timeout=timeout_s
        )
        assert (done.returncode == 0) == succeeds, (
            f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def set_params(self, changes: dict[str, object]) -> None:
        """Change params.yaml by dotted keys, such as `train.num_steps`."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for dotted, value in changes.items():
            *sections, key = dotted.split(".")
            section = params
            for name in sections:
                section = section[name]
            assert key in section, f"params.yaml has no {dotted}"
            section[key] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def set_sources(self, rows: list[str]) -> None:
        """List sources, each as `url,split`."""
        (self.root / "data/sources.csv").write_text("\n".join(["url,split", *rows]) + "\n")


@pytest.fixture(scope="session")
def models() -> Path:
    """The fetched detector and feature networks."""
    return _fetched("models", "scrfd/scrfd.onnx")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The fetched sample clips."""
    return _fetched("data/samples", "single_face.mp4")


@pytest.fixture(scope="session")
def samples_url(samples: Path) -> Iterator[str]:
    """Base URL under which the sample clips are served on loopback during the session."""
    from pipelines.demo.samples import serve_folder

    with serve_folder(samples, "127.0.0.1", 0) as url:
        yield url


@pytest.fixture(scope="session")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, models: Path, samples: Path
) -> Iterator[Callable[..., Project]]:
    """Function `(name, sources=[...]) -> Project` that makes a throw-away project."""
    made: list[Project] = []

    def make(name: str, sources: list[str] | None = None) -> Project:
        root = tmp_path_factory.mktemp(name) / "project"
        _copy_checkout(root)
        shutil.copytree(models, root / "models", copy_function=_link_or_copy)
        shutil.copytree(samples, root / "data/samples", copy_function=_link_or_copy)
        project = Project(root, _variables())
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "start"]):
            project.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *command)
        if sources is not None:
            project.set_sources(sources)
        made.append(project)
        return project

    yield make
    for project in made:
        project.run("lia", "stop")


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The variables with which programs reach a real S3 server, LIA_STORE_URL among them."""
    from tests.object_store import serve_s3

    with serve_s3() as variables:
        yield variables


@pytest.fixture
def run_on_small_disk(tmp_path: Path) -> Callable[..., list[str]]:
    """Function that runs a program with a real file system of some kB at a folder, and returns its lines.

    The file system is mounted in a namespace of its own, which some machines refuse to their users.
    """

    def run(program: str, folder: Path, size: str, *arguments: Path) -> list[str]:
        folder.mkdir()
        mount = f"mount -t tmpfs -o size={size} none {folder}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False, capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount a small file system")
        command = f'{mount} && exec {sys.executable} -c "$@"'
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", command, "sh", program, *map(str, arguments)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def _fetched(folder: str, proof: str) -> Path:
    path = CHECKOUT / folder
    if not (path / proof).is_file():
        pytest.fail(f"{path / proof} is missing: run `lia fetch samples models` (make test does)")
    return path


def _copy_checkout(root: Path) -> None:
    """Copy the files git knows or would add, as they are now."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (CHECKOUT / name).is_file() and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, root / name)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _variables() -> dict[str, str]:
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIA_", "PREFECT_", "RAY_"))
    }
    # Inside, because the core's tests also run where the libraries of pipelines are missing.
    from tests.ports import free_ports

    ports = {f"LIA_{name}_PORT": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    scripts = str(Path(sys.executable).parent)
    return own | ports | {"PATH": f"{scripts}{os.pathsep}{own.get('PATH', '')}"}
