import subprocess

import pytest

from lia_model.training.provenance import described_commit


def test_the_commit_is_marked_when_tracked_files_are_changed(tmp_path):
    assert described_commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    (tmp_path / "file").write_text("a")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], check=True)
    clean = described_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("b")
    assert described_commit(tmp_path) == f"{clean}-dirty"


@pytest.mark.parametrize(
    ("has_repository", "reason"), [(False, "not a git repository"), (True, "dubious ownership")]
)
def test_an_unknown_commit_is_warned_of_with_its_reason(
    tmp_path, monkeypatch, caplog, has_repository, reason
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if has_repository:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
        # Git's own switch, with which its tests make it see another owner.
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert described_commit(tmp_path) == "unknown"
    (line,) = caplog.messages
    assert "recorded as unknown" in line
    assert reason in line
