"""What DVC stores of videos, in a real repository with two committed versions and a remote."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.local.data_versions import CACHE, DataVersions

GONE, KEPT = "a" * 40, "b" * 40
OLD_VIDEO, NEW_VIDEO, KEPT_VIDEO = b"old video", b"new video", b"another's video"
GONE_TAR, KEPT_TAR = b"a tar with the clip", b"a tar without it"
PICTURE = b"a picture that both videos share"
GONE_PAGE, KEPT_PAGE, GONE_REPORT = (
    f'<img id="{key}-0">{name}'.encode() for key, name in ((GONE, "one"), (KEPT, "two"), (GONE, "report"))
)
SHOWN = (OLD_VIDEO, NEW_VIDEO, GONE_TAR, GONE_PAGE, GONE_REPORT)
PIPELINE = """
stages:
  make:
    cmd: cp -R made/data made/report.html .
    deps: [made]
    outs: [data, report.html]
"""
BOTH = (CACHE, "far")


def digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Repository:
    """A repository whose pipeline copies the folder `made` to its outputs."""

    root: Path

    def run(self, *command: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(
            command, cwd=self.root, env=os.environ | {"PATH": path}, check=True, capture_output=True
        )

    def write(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (self.root / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / "made" / name).write_bytes(content)

    def publish(self, subject: str) -> None:
        """Make the outputs, push them and commit what records them."""
        self.run("dvc", "repro", "--quiet")
        self.run("dvc", "push", "--quiet")
        self.run("git", "add", "dvc.yaml", "dvc.lock", ".dvc", ".gitignore")
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        self.run("git", *identity, "commit", "--quiet", "--message", subject)

    def objects(self, where: str) -> set[str]:
        """Return the hashes of all objects in the cache or the remote."""
        folder = self.root / ".dvc/cache" if where == CACHE else self.root / "remote"
        return {path.parent.name + path.name for path in (folder / "files/md5").glob("*/*")}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A repository with two versions, of which the second has another video; read only."""
    root = tmp_path_factory.mktemp("versions") / "project"
    root.mkdir()
    repository = Repository(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(root.parent / "site"))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        repository.run("git", "init", "--quiet")
        repository.run("dvc", "init", "--quiet")
        repository.run("dvc", "remote", "add", "--default", "far", str(root / "remote"))
        (root / "dvc.yaml").write_text(PIPELINE)
        repository.write(
            {
                f"data/raw/{GONE}.mp4": OLD_VIDEO,
                f"data/raw/{KEPT}.mp4": KEPT_VIDEO,
                f"data/pictures/{GONE}-0.png": PICTURE,
                f"data/pictures/{KEPT}-0.png": PICTURE,
                "data/pages/one.html": GONE_PAGE,
                "data/pages/two.html": KEPT_PAGE,
                "data/train/00000.tar": KEPT_TAR,
                "data/train/00001.tar": GONE_TAR,
                "report.html": GONE_REPORT,
            }
        )
        # What every version of the index holds.
        np.savez(
            root / "made/data/train/index.npz",
            tars=np.array(["00000.tar", "00001.tar"]),
            clip_key=np.array([f"{KEPT}-whole-0", f"{GONE}-whole-0"]),
            clip_tar=np.array([0, 1], np.int32),
        )
        repository.publish("first version")
        repository.write({f"data/raw/{GONE}.mp4": NEW_VIDEO})
        repository.publish("second version")
        yield repository


@pytest.fixture
def copied(published: Repository, tmp_path: Path) -> Repository:
    """A copy of the repository that a test may change; its remote is the copy's own."""
    shutil.copytree(published.root, tmp_path / "project", symlinks=True)
    config = tmp_path / "project/.dvc/config"
    config.write_text(config.read_text().replace(str(published.root), str(tmp_path / "project")))
    return Repository(tmp_path / "project")


@pytest.fixture(scope="module")
def copies(published: Repository):
    return DataVersions(published.root).find({GONE})


@pytest.mark.parametrize("where", BOTH)
def test_the_objects_of_every_version_are_found_in_the_cache_and_in_remotes(copies, where: str) -> None:
    assert set(copies.objects[where]) == set(map(digest, SHOWN))


def test_commits_that_need_such_an_object_are_named_newest_first(copies) -> None:
    assert [version.split(" ", 2)[2] for version in copies.versions] == ["second version", "first version"]


def test_bytes_that_another_video_has_too_are_kept_and_named(copies) -> None:
    assert copies.shared == [f"pictures/{KEPT}-0.png"]


def test_of_an_unknown_video_nothing_is_found(published: Repository) -> None:
    copies = DataVersions(published.root).find({"c" * 40})
    assert copies.objects == {CACHE: [], "far": []}
    assert (copies.versions, copies.shared) == ([], [])


def test_removal_leaves_every_other_object_and_can_be_repeated(copied: Repository) -> None:
    versions = DataVersions(copied.root)
    before = {where: copied.objects(where) for where in BOTH}
    found = versions.find({GONE})
    versions.remove(found)
    versions.remove(found)
    for where in BOTH:
        assert copied.objects(where) == before[where] - set(found.objects[where])
        assert {digest(KEPT_VIDEO), digest(KEPT_TAR), digest(PICTURE)} <= copied.objects(where)
    again = DataVersions(copied.root).find({GONE})
    assert again.objects == {CACHE: [], "far": []}


def test_an_object_that_only_the_remote_has_is_found_there(copied: Repository) -> None:
    shutil.rmtree(copied.root / ".dvc/cache/files")
    found = DataVersions(copied.root).find({GONE})
    assert found.objects[CACHE] == []
    # The index and the pages are read from there too.
    assert set(found.objects["far"]) == set(map(digest, SHOWN))


def test_without_its_index_every_tar_of_a_folder_counts(copied: Repository) -> None:
    index = digest((copied.root / "made/data/train/index.npz").read_bytes())
    for folder in (copied.root / ".dvc/cache", copied.root / "remote"):
        (folder / "files/md5" / index[:2] / index[2:]).unlink()
    found = DataVersions(copied.root).find({GONE})
    assert {digest(GONE_TAR), digest(KEPT_TAR)} <= set(found.objects["far"])


def test_outputs_that_are_not_committed_count_too(copied: Repository) -> None:
    page = GONE_REPORT + b"not committed"
    copied.write({"report.html": page})
    copied.run("dvc", "repro", "--quiet")
    assert digest(page) in DataVersions(copied.root).find({GONE}).objects[CACHE]


def test_the_lock_keeps_a_second_user_of_dvc_out(copied: Repository) -> None:
    versions = DataVersions(copied.root)
    with (
        versions.locked(),
        pytest.raises(ValueError, match=r"DVC is at work in this project .* wait for its end and rerun"),
        DataVersions(copied.root).locked(),
    ):
        pytest.fail("locked twice")
    with versions.locked():
        pass


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got no DVC repository in .*; bring \.dvc back with git"):
        DataVersions(tmp_path)


def test_a_remote_of_an_unknown_kind_is_refused(copied: Repository) -> None:
    copied.run("dvc", "remote", "add", "other", "s3://bucket/far")
    with pytest.raises(ValueError, match=r"DVC's remotes cannot be read .* correct \.dvc/config"):
        DataVersions(copied.root)
