"""Where the parts of a project lie on disk: every path, from the project's root."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Ray appends /session_<date>_<time>_<microseconds>_<pid>/sockets/plasma_store (at most 66 bytes) to its temp
# folder, and a unix socket's path ends at 107 bytes.
_LONGEST_RAY_HOME_BYTES = 107 - 66


@dataclass(frozen=True)
class ProjectPaths:
    """Files and folders of one project, all below its root except Ray's home where that path is too long."""

    root: Path
    """Project folder, absolute: the nearest folder upwards that holds params.yaml."""

    @property
    def tombstones(self) -> Path:
        """What was taken down; in git, written by `lia forget`."""
        return self.root / "data" / "tombstones.csv"

    @property
    def raw(self) -> Path:
        """Downloaded videos."""
        return self.root / "data" / "raw"

    @property
    def tracks(self) -> Path:
        """Faces seen in each source, one file a source."""
        return self.root / "data" / "tracks"

    @property
    def clips(self) -> Path:
        """Cut clips, one folder a source, from which shards are packed."""
        return self.root / "data" / "clips"

    @property
    def shards(self) -> Path:
        """Face-cropped training shards and their manifest."""
        return self.root / "data" / "shards"

    @property
    def shards_copy(self) -> Path:
        """Shards with tars of the object store, which `lia fetch shards` writes."""
        return self.root / "out" / "shards"

    @property
    def source_ledger(self) -> Path:
        """Table of sources, written by the stage download."""
        return self.ledger / "sources.parquet"

    @property
    def ledger(self) -> Path:
        """What became of every source and clip."""
        return self.root / "data" / "ledger"

    @property
    def samples(self) -> Path:
        """Sample clips that `lia fetch samples` writes."""
        return self.root / "data" / "samples"

    @property
    def models(self) -> Path:
        """Detector and feature networks that `lia fetch models` writes."""
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        """Numbers and plots for `dvc metrics` and `dvc plots`."""
        return self.root / "metrics"

    @property
    def checkpoints(self) -> Path:
        """Training checkpoints; `final` is the trained model."""
        return self.root / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact store."""
        return self.root / "mlartifacts"

    @property
    def mlflow_store(self) -> Path:
        """MLflow's SQLite file, if no other store is set."""
        return self.root / "mlflow.db"

    @property
    def runs(self) -> Path:
        """Homes of the tools, logs, and Ray's storage."""
        return self.root / "runs"

    def journal(self, run_name: str) -> Path:
        """Return the folder of a training run's journal, which is sent to MLflow."""
        return self.runs / "train" / run_name / "mlflow"

    def lease(self, run_name: str) -> Path:
        """Return the file that says which process trains a run."""
        return self.runs / "train" / run_name / "lease.json"

    def journals(self) -> list[Path]:
        """Return the folders of the journals of all training runs, those of sweeps included."""
        places = ("train/*/mlflow", "sweep/*/mlflow", "sweep/*/trials/*/mlflow")
        return sorted(folder for place in places for folder in self.runs.glob(place))

    @property
    def demo(self) -> Path:
        """What `lia demo` writes."""
        return self.root / "out" / "demo"

    @property
    def services(self) -> Path:
        """Records and logs of the services `lia up` started."""
        return self.runs / "services"

    @property
    def ray_home(self) -> Path:
        """Ray's temp folder: in the project, or in the system's where the project's path is too long."""
        home = self.runs / "ray"
        if len(os.fsencode(home)) <= _LONGEST_RAY_HOME_BYTES:
            return home
        mark = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"lia-{mark}" / "ray"

    @property
    def golden_pairs(self) -> Path:
        """Golden pairs of the versions that the service has loaded."""
        return self.runs / "serving" / "golden"

    @property
    def service_tokens(self) -> Path:
        """Hashes of the animation service's tokens."""
        return self.runs / "serving" / "tokens.json"

    @property
    def ray_token(self) -> Path:
        """Token of this project's Ray clusters; inside the project even where Ray's home is not."""
        return self.runs / "ray" / "auth_token"


def find_root(cwd: Path) -> Path:
    """Return the nearest folder from `cwd` upwards that holds params.yaml.

    Raises:
        ValueError: there is none.
    """
    cwd = cwd.resolve()
    for folder in (cwd, *cwd.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise ValueError(f"no params.yaml in {cwd} or a folder above it: run lia inside the project's checkout")
