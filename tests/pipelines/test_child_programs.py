import logging
import sys
from pathlib import Path

import pytest

from pipelines.child_programs import ProgramError, decisive_line, run_logged, run_on_terminal

logger = logging.getLogger(__name__)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_printed_line_is_logged_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run_logged(
        python("import sys; print('one', flush=True); print('two', file=sys.stderr)"), tmp_path, {}, logger
    )
    assert caplog.messages == ["one", "two"]


def test_a_logged_program_that_fails_is_named_with_its_exit_code_and_reason(tmp_path: Path) -> None:
    command = python("print('reading'); print('lia: got no shards'); raise SystemExit(3)")
    with pytest.raises(
        ProgramError, match=r"^`.* -c .*` failed with exit code 3: lia: got no shards$"
    ) as caught:
        run_logged(command, tmp_path, {}, logger)
    assert caught.value.reason == "lia: got no shards"
    assert caught.value.lines == ["reading", "lia: got no shards"]


def test_a_program_on_the_terminal_that_fails_points_to_its_own_message(tmp_path: Path, capfd) -> None:
    with pytest.raises(ProgramError, match="`false` failed with exit code 1: its message stands above"):
        run_on_terminal(["false"], tmp_path)
    run_on_terminal(python("print('on the terminal')"), tmp_path)
    assert capfd.readouterr().out == "on the terminal\n"


def test_programs_run_in_the_root_with_the_given_variables(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    code = "import os; print(os.getcwd()); print(os.environ['PREFECT_HOME'])"
    run_logged(python(code), tmp_path, {"PREFECT_HOME": "theirs"}, logger)
    assert caplog.messages == [str(tmp_path.resolve()), "theirs"]


def test_programs_of_this_python_environment_come_before_those_on_path(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    other = tmp_path / "dvc"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    code = "import shutil; print(shutil.which('dvc'))"
    run_logged(python(code), tmp_path, {"PATH": str(tmp_path)}, logger)
    assert caplog.messages == [str(Path(sys.executable).parent / "dvc")]


def test_a_child_is_not_tied_to_the_flow_run_that_starts_it(tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "1")
    run_logged(python("import os; print('PREFECT__FLOW_RUN_ID' in os.environ)"), tmp_path, {}, logger)
    assert caplog.messages == ["False"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a", "lia: b", "ERROR: c"], "lia: b"),
        (["a", "ERROR: c", "lia: b"], "ERROR: c"),
        (["a", "b"], "a"),
        ([], "no output"),
    ],
)
def test_the_decisive_line_is_the_first_error_else_the_first_line(lines: list[str], expected: str) -> None:
    assert decisive_line(lines) == expected
