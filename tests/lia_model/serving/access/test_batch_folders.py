import pytest

from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.scopes import OPERATOR, Caller, Scope
from lia_model.serving.errors import RefusalError


@pytest.fixture
def root(tmp_path):
    """A project with folders for batches, others of its own, and links out of the former."""
    root = tmp_path / "project"
    for name in ("inputs/sub", "outputs", "data/raw", ".git/hooks", "outputs/own/.git/hooks"):
        (root / name).mkdir(parents=True)
    for folder in ("inputs", "outputs"):
        (root / folder / "link").symlink_to(root / "data")
        (root / folder / "loop").symlink_to(root / folder / "loop")
    (root / "inputs" / "inner").symlink_to(root / "inputs" / "sub")
    return root


@pytest.fixture
def folders(root, tmp_path):
    return BatchFolders(root, (root / "inputs", tmp_path / "else"), (root / "outputs",))


def test_paths_in_the_named_folders_are_taken_with_links_resolved(folders, root, tmp_path):
    for text, path in (
        ("inputs/a.png", root / "inputs/a.png"),
        (f"{root}/inputs/sub/../a.png", root / "inputs/a.png"),
        ("inputs/inner/a.png", root / "inputs/sub/a.png"),
        (f"{tmp_path}/else/a.png", tmp_path / "else/a.png"),
    ):
        assert folders.input_path("source", text, OPERATOR) == path
    assert folders.output_path("output", "outputs/a/b", OPERATOR) == root / "outputs/a/b"
    assert folders.output_path("output", "outputs", OPERATOR) == root / "outputs"


OUTSIDE = [
    "a.png",
    "data/raw",
    ".git/hooks",
    "..",
    "{0}/../a.png",
    "{0}/link/raw",
    "/etc/hostname",
    "{0}x/a.png",
]


@pytest.mark.parametrize("place", OUTSIDE)
def test_no_other_folder_of_the_project_or_of_the_machine_is_used(folders, root, place):
    with pytest.raises(
        RefusalError, match=r"source: .* is outside the folders that serve\.batch_inputs"
    ) as told:
        folders.input_path("source", place.format("inputs"), OPERATOR)
    assert (told.value.status, told.value.code) == (422, "bad_field")
    assert str(root) not in told.value.message
    with pytest.raises(RefusalError, match=r"output: .* is outside the folders that serve\.batch_outputs"):
        folders.output_path("output", place.format("outputs"), OPERATOR)


def test_each_folder_serves_its_own_purpose(folders):
    with pytest.raises(RefusalError, match=r"serve\.batch_outputs"):
        folders.output_path("output", "inputs/sub", OPERATOR)
    with pytest.raises(RefusalError, match=r"serve\.batch_inputs"):
        folders.input_path("source", "outputs/a.mp4", OPERATOR)


def test_hidden_folders_such_as_a_repository_are_not_used(folders):
    for text in ("outputs/own/.git/hooks", "outputs/.x"):
        with pytest.raises(RefusalError, match=r"output: .* is hidden"):
            folders.output_path("output", text, OPERATOR)


@pytest.mark.parametrize("text", ["s3://bucket/a.png", "file:///a.png", "inputs/a\0b"])
def test_what_is_no_path_is_refused(folders, text):
    with pytest.raises(RefusalError, match=r"URL|null"):
        folders.input_path("source", text, OPERATOR)


@pytest.mark.parametrize("place", [".", "..", ".git", ".git/hooks", "link"])
def test_results_cannot_be_sent_among_the_projects_own_files(root, place):
    (root / "link").symlink_to(root)
    with pytest.raises(ValueError, match=r"serve\.batch_outputs has .*: name one such as out"):
        BatchFolders(root, (), (root / "outputs", root / place)).require_apart_from_the_project()


def test_folders_inside_and_outside_the_project_are_allowed(folders, root, tmp_path):
    folders.require_apart_from_the_project()
    BatchFolders(root, (root,), (tmp_path / "results",)).require_apart_from_the_project()


def test_an_owner_writes_to_the_folder_of_its_name_alone(folders, root):
    alice, admin = Caller("alice", Scope.SUBMIT), Caller("carol", Scope.ADMIN)
    for text in ("outputs/alice", "outputs/alice/a/b", "outputs/bob/../alice"):
        path = folders.output_path("output", text, alice)
        assert path.is_relative_to(root / "outputs/alice")
    (root / "outputs/alice").mkdir()
    (root / "outputs/alice/to_bob").symlink_to(root / "outputs/bob")
    for text in ("outputs", "outputs/bob", "outputs/alice2", "outputs/alice/../bob", "outputs/alice/to_bob"):
        with pytest.raises(
            RefusalError, match=r"output: .* is not in the caller's own folder.* folder alice"
        ):
            folders.output_path("output", text, alice)
        folders.output_path("output", text, admin)
        folders.output_path("output", text, OPERATOR)


def test_results_of_another_owner_are_no_inputs(root):
    folders = BatchFolders(root, (root / "inputs", root / "outputs"), (root / "outputs",))
    alice, admin = Caller("alice", Scope.SUBMIT), Caller("carol", Scope.ADMIN)
    for text in ("inputs/a.png", "outputs/alice/a.mp4"):
        folders.input_path("source", text, alice)
    with pytest.raises(RefusalError, match=r"source: outputs/bob/a\.mp4 is not in the caller's own folder"):
        folders.input_path("source", "outputs/bob/a.mp4", alice)
    folders.input_path("source", "outputs/bob/a.mp4", admin)
