import json
import subprocess
import sys
from pathlib import Path

import pytest

from lia_model.checkpoints.versions import POINTER, CheckpointVersions, newest_whole
from tests.lia_model.checkpoints import killed_writer


def write(versions, step, content=b"weights"):
    with versions.write(step) as folder:
        (folder / "training.json").write_text(json.dumps({"step": step}))
        (folder / "weights").write_bytes(content)


@pytest.fixture
def versions(tmp_path):
    return CheckpointVersions(tmp_path / "steps", num_kept=2)


@pytest.mark.parametrize("how", ["kill", "abort"])
def test_a_writer_that_ends_at_any_file_operation_leaves_a_whole_checkpoint(train_settings, tmp_path, how):
    settings = tmp_path / "settings.json"
    settings.write_text(train_settings.model_dump_json())
    command = [sys.executable, "-W", "ignore", killed_writer.__file__, str(tmp_path), how, str(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    steps = [after for after, _, _ in found]
    # The old checkpoint up to the replacement of the pointer, the new one from then on; an error may be one
    # that does not matter, as that of making a folder that exists.
    assert steps == sorted(steps) or how == "abort"
    assert set(steps) == {2, 3}
    assert len(steps) > 20
    assert {later for _, later, _ in found} == {4}
    assert all(POINTER in left and "step-00000004" in left and len(left) == 3 for _, _, left in found)


def test_the_newest_checkpoints_stay(versions):
    assert versions.latest() is None
    for step in (9, 10, 100, 100):
        write(versions, step)
        assert versions.latest() == versions.root / f"step-{step:08d}"
    assert sorted(path.name for path in versions.root.iterdir()) == [
        POINTER,
        "step-00000010",
        "step-00000100",
    ]


def test_a_checkpoint_that_was_damaged_later_is_passed_over_with_a_warning(versions, caplog):
    write(versions, 1)
    write(versions, 2)
    (versions.root / "step-00000002/weights").write_bytes(b"weightz")
    assert versions.latest() == versions.root / "step-00000001"
    (line,) = caplog.messages
    assert "step-00000002/weights is not the file that training wrote" in line
    (versions.root / "step-00000001/weights").unlink()
    with pytest.raises(ValueError, match="step-00000002/weights is not the file"):
        versions.latest()


@pytest.mark.parametrize("content", ["", "{}", '{"checkpoint": "step-00000009"}'])
def test_a_damaged_pointer_costs_nothing(versions, content):
    write(versions, 1)
    write(versions, 2)
    (versions.root / POINTER).write_text(content)
    assert versions.latest() == versions.root / "step-00000002"


def test_half_a_checkpoint_is_none(tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half/training.json").write_text('{"step": 5}')
    assert newest_whole(tmp_path) is None
