import pytest

from pipelines.commands.calibrate import calibrate_embedder, rate_rows, read_labels, write_calibration
from pipelines.params import read_params
from preprocessing.clips.splitting.comparison import compare_people
from preprocessing.faces.calibration import CALIBRATION_NAME
from tests.conftest import CHECKOUT


@pytest.fixture
def root(tmp_path, models):
    """A project with the fetched networks, and room for a calibration of its own."""
    for folder in ("scrfd", "dlib"):
        (tmp_path / "models" / folder).mkdir(parents=True)
        for file in (models / folder).iterdir():
            (tmp_path / "models" / folder / file.name).symlink_to(file)
    return tmp_path


def labels_of(root, *lines):
    path = root / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_calibration_of_two_videos_is_read_and_too_small_to_prove_anything(root, samples):
    shipped = read_params(CHECKOUT / "params.yaml").shards
    identity = shipped.identity.model_copy(update={"across_sources": True})
    settings = shipped.model_copy(update={"identity": identity})
    rows = [
        f"{samples / name},{who}"
        for name, who in (("WolfgangLanger_Pexels.mp4", "a"), ("face_noface.mov", "b"))
    ]
    found = calibrate_embedder(labels_of(root, "file,identity", *rows), "two clips", root, settings)
    assert rate_rows(found)[1][1] == "0/1"
    write_calibration(found, root / settings.detect.models / CALIBRATION_NAME)
    comparison = compare_people(root, settings)
    assert comparison.measured is None
    assert "0 of 1 measured pairs of two people match" in comparison.why_not


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["file"], "file and identity are needed"),
        (["file,identity", "gone.mp4,a"], "in line 2"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(tmp_path, lines, error):
    with pytest.raises(ValueError, match=error):
        read_labels(labels_of(tmp_path, *lines))
