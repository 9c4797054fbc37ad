import csv
import json
import warnings

import numpy as np
import pytest
import torch
from pyarrow import parquet
from torch import nn

from lia_model.checkpoints.directory import save_generator
from lia_model.data.pair_list import read_pair_list
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines.params import read_params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.evaluate import Comparison, evaluate_checkpoint, run_evaluate, summary_lines
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.boxes import square_around
from preprocessing.media.images import cut
from preprocessing.media.video_reader import decode
from tests.conftest import CHECKOUT
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import write_shards
from tests.parsed_page import ParsedPage

SIZE_PX = 64


class MeanColour(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).mean(dim=2)


@pytest.fixture(scope="module")
def faces(models, samples):
    """Six frames of each of two people, cropped as shards are."""
    detector = FaceDetector(models / "scrfd", 0.5, 64)

    def read(name):
        chosen = [
            frame.image for number, frame in enumerate(decode(samples / name)) if number in range(0, 48, 8)
        ]
        square = square_around(detector.detect(chosen[0])[0].box, 1.4)
        return np.stack([cut(image, square, SIZE_PX) for image in chosen])

    return [read("single_face.mp4"), read("WolfgangLanger_Pexels.mp4")]


@pytest.fixture(scope="module")
def paths(tmp_path_factory, faces):
    root = tmp_path_factory.mktemp("evaluate")
    write_shards(root / "data/shards", {"train": faces, "test": faces}, SIZE_PX)
    network = NetworkSettings(size_px=SIZE_PX, width=0.02, latent_dim=16, num_directions=4)
    for seed, name in enumerate(("final", "before")):
        save_generator(root / "checkpoints" / name, build_generator(network, seed=seed), {"run_id": "none"})
    return ProjectPaths(root)


@pytest.fixture(scope="module")
def settings(models, paths):
    features = paths.root / "colour.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(MeanColour()).save(features)
    return evaluation_settings(models, fid_features=features)


@pytest.fixture(scope="module")
def report(paths, settings):
    final = paths.checkpoints / "final"
    baselines = {"before": str(paths.checkpoints / "before")}
    return evaluate_checkpoint.fn(final, Comparison(settings, baselines, None), paths.shards, paths.metrics)


def test_evaluate_json_keeps_its_means_and_adds_intervals(report, paths):
    written = json.loads((paths.metrics / "evaluate.json").read_text())
    assert written["mean"] == report["mean"]
    assert {"l1", "psnr", "ssim", "lpips", "copy_source_l1", "copy_source_akd", "improvement"} <= report[
        "mean"
    ].keys()
    assert report["mean"]["copy_source_mkr"] == 0
    assert all(isinstance(value, float) for value in report["mean"].values())
    (entry,) = (
        one
        for one in report["summary"]
        if (one["model"], one["protocol"], one["metric"]) == ("model", "reconstruction", "l1")
    )
    assert entry["low"] <= entry["mean"] == report["mean"]["l1"] <= entry["high"]
    assert written["frames"] == {f"test-{n}": [0, 2, 3, 5] for n in range(2)}


def test_every_pair_and_model_has_a_row(report, paths):
    table = parquet.read_table(paths.metrics / "clips.parquet")
    rows = table.to_pylist()
    assert len(rows) == 2 * 2 * 3
    assert {row["model"] for row in rows} == {"model", "copy_source", "before"}
    assert {str(table.schema.field(name).type) for name in ("l1", "akd", "csim", "motion")} == {"double"}
    copied = [row for row in rows if row["model"] == "copy_source"]
    assert all(row["csim"] == pytest.approx(1) for row in copied if row["protocol"] == "cross_identity")
    assert all(row["akd"] > 0 for row in copied if row["protocol"] == "reconstruction")
    with (paths.metrics / "clips.csv").open(newline="") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == ["test-0", "test-1"]


def test_numbers_name_the_networks_they_were_measured_with(report):
    assert "dlib" in next(one["model"] for one in report["measured_by"] if "akd" in one["measures"])
    assert {one["features_file"] for one in report["set_distances"]} == {"colour.pt"}
    assert {one["model"] for one in report["set_distances"]} == {"model", "copy_source", "before"}
    hashes = {one["name"]: one["weights_sha256"] for one in report["models"]}
    assert hashes["copy_source"] is None
    assert hashes["model"] != hashes["before"]


def test_an_untrained_model_shows_no_face_and_that_is_told(report):
    """Random weights paint no face: MKR is 1 and the distances are named as not computed, not as 0."""
    assert report["mean"]["mkr"] == 1
    assert "akd" not in report["mean"]
    assert {
        "what": "akd",
        "reason": "no face was found in the results of model for the reconstruction pairs",
    } in report["skipped"]
    assert {one["what"] for one in report["skipped"]} >= {"fvd"}


def test_the_written_list_repeats_the_numbers_to_the_last_digit(report, paths, settings, tmp_path):
    first = (paths.metrics / "evaluation_list.json").read_bytes()
    (tmp_path / "list.json").write_bytes(first)
    other = settings.model_copy(update={"max_num_frames_per_clip": 2, "seed": 5})
    final = paths.checkpoints / "final"
    again = evaluate_checkpoint.fn(
        final,
        Comparison(other, {}, tmp_path / "list.json"),
        paths.shards,
        paths.metrics,
    )
    assert again["mean"] == report["mean"]
    assert (paths.metrics / "evaluation_list.json").read_bytes() == first
    assert len(read_pair_list(tmp_path / "list.json").pairs) == 4


def test_page_and_pictures_are_written_for_every_pair(report, paths):
    names = {path.name for path in (paths.metrics / "pictures").iterdir()}
    assert names == {"test-0.png", "test-1.png", "test-0--test-1.png", "test-1--test-0.png"}
    page = (paths.metrics / "evaluation.html").read_text()
    # By these ids `lia forget` knows whom the page shows.
    assert ParsedPage(page).figures.keys() == {name.removesuffix(".png") for name in names}
    assert report["frozen"][0]["sha256"] in page


def test_the_lines_for_a_terminal_say_where_the_page_is(report, paths):
    lines = summary_lines(report, paths.metrics).splitlines()
    assert any(line.startswith("before") and " l1 " in line for line in lines)
    assert any(line.startswith("not computed: FVD: ") for line in lines)
    assert lines[-1].endswith("evaluation.html")


def params_of(settings):
    class Params:
        evaluate = settings
        train = read_params(CHECKOUT / "params.yaml").train

    return Params


def test_bad_input_is_refused_before_anything_is_written(paths, settings, tmp_path):
    params = params_of(settings)
    with pytest.raises(ValueError, match="a baseline called 'copy_source'"):
        run_evaluate(params, paths, None, {"copy_source": "x"})
    with pytest.raises(ValueError, match="is neither a directory nor models"):
        run_evaluate(params, paths, None, {"gone": str(tmp_path / "gone")})
    with pytest.raises(ValueError, match=r"none\.json does not exist"):
        run_evaluate(params, paths, tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"evaluate\.lpips: .* does not exist"):
        run_evaluate(params_of(settings.model_copy(update={"lpips": tmp_path / "x"})), paths)


def test_held_out_frames_of_another_size_are_refused_before_anything_is_written(paths, settings, tmp_path):
    """The checkpoint is that of the other tests."""
    (tmp_path / "checkpoints").symlink_to(paths.checkpoints)
    frames = np.zeros((4, 48, 48, 3), np.uint8)
    write_shards(tmp_path / "data/shards", {"train": [frames], "test": [frames]}, SIZE_PX)
    with pytest.raises(
        ValueError, match=r"/test/00000\.tar holds frames of 48x48 px, and the manifest says 64x64"
    ):
        run_evaluate(params_of(settings), ProjectPaths(tmp_path))
    assert not (tmp_path / "metrics").exists()


def test_paths_of_the_settings_become_absolute(tmp_path):
    from pipelines import presets

    presets.write_preset("demo", tmp_path / "params.yaml")
    settings = read_params(tmp_path / "params.yaml").evaluate.with_paths_under(tmp_path)
    assert settings.lpips == tmp_path / "models/lpips_alex.safetensors"
    assert settings.faces.models == tmp_path / "models/dlib"
    assert settings.fid_features is None
