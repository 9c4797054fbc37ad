import errno
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
import typer
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from pipelines import presets
from pipelines.cli import app, explain, is_database_busy
from tests.ports import free_port

LIA = str(Path(sys.executable).parent / "lia")


def commands_below(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command and group, as the words that call it."""
    if path:
        yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands_below(below, (*path, name))


COMMANDS = list(commands_below(typer.main.get_command(app)))


def lia(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LIA, *arguments], cwd=cwd, text=True, capture_output=True, timeout=60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    presets.write_preset("demo", tmp_path / "params.yaml")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_a_help_text(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Usage: root {' '.join(command)}" in result.output
    found = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    assert found.help
    undescribed = [option.name for option in found.params if not getattr(option, "help", None)]
    assert undescribed == []


def test_every_promised_command_is_there() -> None:
    promised = "doctor preset fetch clean download shards train evaluate release rollback animate manipulate"
    promised += " serve batch import-checkpoint export-checkpoint export-onnx ledger forget env up stop demo"
    assert set(COMMANDS) >= {(name,) for name in promised.split()} | {("motion", "extract")}
    assert ("sources", "import") in COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize("command", ["models", "serve"])
def test_an_outage_of_mlflow_is_one_line_and_exits_1(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("LIA_MLFLOW_TRACKING_URI", f"http://ann:s3cret@127.0.0.1:{port}")
    monkeypatch.setenv("LIA_SERVE_PORT", str(free_port()))
    done = lia(command, cwd=root)
    assert done.returncode == 1
    assert done.stderr == (
        f"lia: MLflow at {address} fails (Connection refused): see that it runs, or correct "
        "LIA_MLFLOW_TRACKING_URI, and run the command again\n"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("no-such-command", "No such command 'no-such-command'; see `lia --help`"),
        (
            "fetch everything",
            "Invalid value for 'what': 'everything' is not one of 'samples', 'models', 'shards'; see "
            "`lia fetch --help`",
        ),
        ("motion extract", "Missing argument 'driving'; see `lia motion extract --help`"),
        (
            "serve --port abc",
            "Invalid value for '--port': Input should be a valid integer, unable to parse string as an "
            "integer; see `lia serve --help`",
        ),
    ],
)
def test_wrong_use_is_one_line_and_exits_2(wrong: str, message: str) -> None:
    done = lia(*wrong.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"lia: {message}\n")


def test_without_arguments_help_is_printed() -> None:
    for group in ((), ("motion",)):
        done = lia(*group)
        assert done.returncode == 2
        assert "Usage: lia" in done.stdout + done.stderr
        assert "lia:" not in done.stderr
    assert lia("--help").returncode == 0


def test_bad_input_is_one_line_and_exits_2(root: Path) -> None:
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("num_steps:", "num_step:"))
    done = lia("download", cwd=root)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"lia: {root}/params.yaml: train.num_step is not a key; did you mean train.num_steps?\n"
    )


def test_an_operator_error_shows_its_traceback_on_request_only(tmp_path: Path) -> None:
    assert "Traceback" not in lia("env", cwd=tmp_path).stderr
    assert "Traceback" in lia("--traceback", "env", cwd=tmp_path).stderr


def run_command_raising(statement: str) -> subprocess.CompletedProcess[str]:
    """Run the real `main` with one more command, whose body is `statement`."""
    code = f"import sys\nfrom pipelines import cli\n@cli.app.command()\ndef broken():\n    {statement}\n"
    code += "sys.argv = ['lia', 'broken']\ncli.main()\n"
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("bug", ["{}['missing']", "assert False", "None.name", "1 / 0"])
def test_a_bug_keeps_its_traceback(bug: str) -> None:
    done = run_command_raising(bug)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert ", in broken" in done.stderr


def test_a_failure_of_our_own_is_one_line_and_exits_1() -> None:
    done = run_command_raising(
        "from pipelines.local.services import ServiceError; raise ServiceError('not up')"
    )
    assert (done.returncode, done.stderr) == (1, "lia: not up\n")


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = {"torch", "ray", "mlflow", "prefect", "dvc"}
    code = f"import sys, pipelines.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_busy_database_is_told_apart_however_it_is_wrapped(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("CREATE TABLE t (x)")
        holder.execute("BEGIN EXCLUSIVE")
        engine = create_engine(f"sqlite:///{tmp_path}/mlflow.db?timeout=0.1")
        with engine.connect() as database, pytest.raises(OperationalError) as busy:
            database.exec_driver_sql("INSERT INTO t VALUES (1)")
        engine.dispose()
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = busy.value
    assert is_database_busy(wrapped)
    with closing(sqlite3.connect(":memory:")) as database, pytest.raises(sqlite3.OperationalError) as wrong:
        database.execute("SELECT nothing")
    assert not is_database_busy(wrong.value)
    assert not is_database_busy(ValueError())


FILL = """
import os, sys
from pathlib import Path
os.chdir(sys.argv[1])
Path("params.yaml").write_text("before")
Path("filler").write_bytes(bytes(28_000))
os.dup2(1, 2)
sys.argv = ["lia", "preset", "demo", "--yes"]
from pipelines.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, sorted(os.listdir()), Path("params.yaml").read_text())
"""


def test_a_full_disk_is_one_line(tmp_path: Path, run_on_small_disk) -> None:
    small = tmp_path / "small"
    told, left = run_on_small_disk(FILL, small, "32k", small)
    assert told == "lia: No space left on device; free space there, or choose a file that can be written"
    assert left == "1 ['filler', 'params.yaml', 'runs'] before"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/a/b"),
        OSError(errno.ENAMETOOLONG, "File name too long", "/a/b"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "/a/b"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line(error: OSError) -> None:
    assert explain(error) == f"{error.strerror}: /a/b; free space there, or choose a file that can be written"


def test_an_error_of_a_library_keeps_its_traceback() -> None:
    assert explain(RuntimeError("?")) is None
    assert explain(OSError(errno.EIO, "Input/output error", "/a/b")) is None
