"""The commands animate, motion extract and manipulate on real files, good and bad."""

import json
import logging
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines import presets
from pipelines.cli import main
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from preprocessing.storage.files import file_sha256

NETWORK = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)


def write_video(path, num_frames, size=(48, 40)):
    with VideoWriter(path, Fraction(25), size) as video:
        for number in range(num_frames):
            video.write(np.full((size[1], size[0], 3), 20 * number, np.uint8))


def write_header_alone(path):
    """All of an mp4 but its pictures."""
    write_video(path.with_suffix(".whole"), 3)
    whole = path.with_suffix(".whole").read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 4])


def write_no_frames(path):
    """A whole mp4 whose video track lasts no time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.start_encoding()


def write_turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 48), "red").save(path, exif=exif)


def write_text(path):
    path.write_text("not a picture")


ODD_IMAGES = {
    "alpha.png": (lambda path: Image.new("RGBA", (40, 40)).save(path), "with an alpha channel"),
    "deep.png": (lambda path: cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint16)), "16 bits a channel"),
    "grey16.png": (lambda path: cv2.imwrite(str(path), np.ones((40, 40), np.uint16)), "16 bits a channel"),
    "cmyk.jpg": (lambda path: Image.new("CMYK", (40, 40)).save(path), "with CMYK colours"),
}
BAD_FILES = ODD_IMAGES | {
    "small.png": (
        lambda path: Image.new("RGB", (31, 40)).save(path),
        "of 31x40 px; both sides must be at least 32 px",
    ),
    "text.png": (write_text, "neither an image nor a video"),
    "half.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "not a readable image"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "header.mp4": (write_header_alone, "a video that can be decoded is needed"),
    "no_frames.mp4": (write_no_frames, "a video that can be decoded is needed"),
    "small.mp4": (
        lambda path: write_video(path, 3, (16, 16)),
        "of 16x16 px; both sides must be at least 32 px",
    ),
    "nowhere.mp4": (lambda path: None, "does not exist"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, models):
    """A folder with params.yaml, detector, two models, a portrait, a clip and a motion file."""
    root = tmp_path_factory.mktemp("project")
    presets.write_preset("demo", root / "params.yaml")
    (root / "models").symlink_to(models)
    for seed, name in enumerate(("model", "other")):
        save_generator(root / name, build_generator(NETWORK, seed=seed))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "portrait.png")
    write_video(root / "clip.mp4", 5)
    return root


@pytest.fixture
def lia(project, monkeypatch, capsys):
    """Run a command in this process as the console script does; return exit code and error lines."""
    # The command puts the tools' variables into this process; the next test must not inherit them.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(project)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lia", *map(str, arguments), "--device", "cpu"])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().err.splitlines()

    yield run
    for name in ("preprocessing", "lia_model", "pipelines"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def require_refusal(outcome, name, reason):
    """One line, and the exit code of bad input."""
    code, lines = outcome
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("lia: ")
    assert name in lines[0]
    assert reason in lines[0]


@pytest.mark.parametrize("role", ["source", "driving"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_line_and_exit_2(lia, tmp_path, name, role):
    write, reason = BAD_FILES[name]
    write(tmp_path / name)
    files = {"source": "portrait.png", "driving": "clip.mp4"} | {role: tmp_path / name}
    output = tmp_path / "out" / "out.mp4"
    outcome = lia("animate", *files.values(), "-o", output, "--model", "model", "--no-crop")
    require_refusal(outcome, name, reason)
    assert not output.exists()


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_images_that_are_not_plain_are_converted_on_request(lia, tmp_path, name):
    ODD_IMAGES[name][0](tmp_path / name)
    for arguments in (
        ("animate", tmp_path / name, "clip.mp4", "-o", tmp_path / "out.mp4"),
        ("animate", "clip.mp4", tmp_path / name, "--mode", "absolute", "-o", tmp_path / "out.mp4"),
        ("motion", "extract", tmp_path / name, "-o", tmp_path / "motion"),
        ("manipulate", tmp_path / name, "-o", tmp_path / "folder", "--frames", "2"),
    ):
        require_refusal(lia(*arguments, "--model", "model", "--no-crop"), name, ODD_IMAGES[name][1])
        assert lia(*arguments, "--model", "model", "--no-crop", "--convert")[0] == 0


def test_a_turned_photo_is_animated_without_a_word(lia, tmp_path, caplog):
    write_turned(tmp_path / "turned.jpg")
    arguments = ("animate", tmp_path / "turned.jpg", "clip.mp4", "-o", tmp_path / "out.mp4")
    assert lia(*arguments, "--model", "model", "--no-crop")[0] == 0
    assert caplog.messages == []


def test_a_result_names_the_model_and_the_source_it_was_made_of(lia, project, tmp_path):
    output = tmp_path / "out.mp4"
    assert lia("animate", "portrait.png", "clip.mp4", "-o", output, "--model", "model", "--no-crop")[0] == 0
    with av.open(str(output)) as container:
        tags = container.metadata
    assert (tags["synthetic"], tags["model"]) == ("true", "model")
    assert tags["source_sha256"] == file_sha256(project / "portrait.png")


@pytest.mark.parametrize("role", ["source", "driving"])
@pytest.mark.parametrize("name", ["no_face.mp4", "portrait.png"])
def test_a_file_without_a_face_is_one_line_and_exit_2(lia, samples, tmp_path, role, name):
    faceless = samples / name if name.endswith("mp4") else name
    files = {"source": samples / "single_face.mp4", "driving": samples / "single_face.mp4"} | {role: faceless}
    outcome = lia("animate", *files.values(), "-o", tmp_path / "out.mp4", "--model", "model")
    require_refusal(outcome, name, f"no face in the {role} file")
    assert list(tmp_path.iterdir()) == []


def test_motion_files_that_do_not_fit_are_one_line_and_exit_2(lia, project, tmp_path):
    options = ("--model", "model", "--no-crop")
    assert lia("motion", "extract", "clip.mp4", "-o", tmp_path / "own", *options)[0] == 0
    whole = (tmp_path / "own").read_bytes()
    (tmp_path / "half").write_bytes(whole[:-5])
    bad = {
        ("other", tmp_path / "own"): "motion of another model",
        ("model", tmp_path / "half"): "damaged safetensors file",
        ("model", project / "model/generator.safetensors"): "without motion weights",
    }
    for (model, motion), reason in bad.items():
        arguments = ("animate", "portrait.png", motion, "-o", tmp_path / "out.mp4", "--no-crop")
        require_refusal(lia(*arguments, "--model", model), motion.name, reason)
    require_refusal(
        lia("animate", tmp_path / "own", "clip.mp4", "-o", tmp_path / "out.mp4", *options),
        "own",
        "neither an image nor a video",
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--face", "all"), "add paste_back"),
        (("--face", "0"), "face is '0'; it is largest, all, or a number from 1"),
        (("--face", "left"), "face is 'left'; it is largest, all, or a number from 1"),
        (("--face", "2", "--no-crop"), "face is 2 without crop"),
        (("--model", "nowhere"), "nowhere"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_exit_2(lia, tmp_path, arguments, reason):
    model = () if "--model" in arguments else ("--model", "model")
    outcome = lia("animate", "portrait.png", "clip.mp4", "-o", tmp_path / "o.mp4", *model, *arguments)
    require_refusal(outcome, "", reason)


@pytest.mark.parametrize(
    ("arguments", "reason"), [(("--range", "0"), "got range 0"), (("--frames", "1"), "got 1 frames")]
)
def test_manipulation_by_nothing_is_one_line_and_exit_2(lia, tmp_path, arguments, reason):
    options = ("--model", "model", "--no-crop")
    outcome = lia("manipulate", "portrait.png", "-o", tmp_path / "folder", *options, *arguments)
    require_refusal(outcome, "", reason)


def test_the_commands_make_what_they_say(lia, tmp_path):
    options = ("--model", "model", "--no-crop")
    assert lia("motion", "extract", "clip.mp4", "-o", tmp_path / "motion", *options)[0] == 0
    common = ("-o", tmp_path / "out.mp4", *options, "--paste-back", "--start", "best")
    assert lia("animate", "portrait.png", tmp_path / "motion", *common)[0] == 0
    assert (probe(tmp_path / "out.mp4").num_frames, probe(tmp_path / "out.mp4").width_px) == (5, 40)
    assert lia("manipulate", "portrait.png", "-o", tmp_path / "folder", *options)[0] == 0
    assert len(list(decode(tmp_path / "folder/direction_04.mp4"))) == 16


def test_an_encoder_that_no_gpu_has_is_missed_before_anything_is_computed(lia, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    options = ("-o", tmp_path / "out.mp4", "--no-crop", "--video-encoder")
    outcome = lia("animate", "portrait.png", "clip.mp4", "--model", "not looked for", *options, "gpu")
    require_refusal(outcome, "encoding", "use the CPU")
    decoding = ("--model", "model", "--video-decoder", "gpu")
    assert lia("animate", "portrait.png", "clip.mp4", *decoding, *options, "auto")[0] == 0
    assert probe(tmp_path / "out.mp4").num_frames == 5


def save_cropped(folder, rule, scale=1.2):
    record = {"rule": rule, "scale": scale, "outside": "pad"}
    save_generator(folder, build_generator(NETWORK, seed=0), {"crop": record})


@pytest.mark.parametrize("rule", ["body", "none"])
def test_a_model_trained_without_faces_needs_neither_faces_nor_their_detector(
    lia, project, tmp_path, monkeypatch, rule
):
    """Its inputs are cropped as by --no-crop."""
    (tmp_path / "params.yaml").write_bytes((project / "params.yaml").read_bytes())
    save_cropped(tmp_path / "model", rule)
    monkeypatch.chdir(tmp_path)
    results = {}
    for name, options in {"cropped": (), "whole": ("--no-crop",)}.items():
        common = ("--model", "model", *options)
        files = (project / "portrait.png", project / "clip.mp4")
        assert lia("animate", *files, "-o", f"{name}.mp4", *common)[0] == 0
        assert lia("motion", "extract", files[1], "-o", f"{name}.motion", *common)[0] == 0
        assert lia("manipulate", files[0], "-o", name, "--frames", "2", *common)[0] == 0
        results[name] = (
            [frame.image for frame in decode(tmp_path / f"{name}.mp4")],
            load_file(tmp_path / f"{name}.motion")["weights"],
            np.asarray(Image.open(tmp_path / name / "contact_sheet.png")),
        )
    for got, wanted in zip(*results.values(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_face_cannot_be_chosen_for_a_model_trained_without_faces(lia, tmp_path):
    save_cropped(tmp_path / "model", "body")
    output = tmp_path / "out.mp4"
    arguments = ("portrait.png", "clip.mp4", "-o", output, "--model", tmp_path / "model", "--face", "2")
    require_refusal(lia("animate", *arguments), "face is 2", "trained with crop rule body")


def test_faces_are_cropped_at_the_scale_that_the_model_records(lia, samples, tmp_path):
    widths = []
    for scale in (1.2, 2.4):
        save_cropped(tmp_path / f"{scale}", "fomm_square", scale)
        motion = tmp_path / f"{scale}.motion"
        command = ("motion", "extract", samples / "single_face.mp4", "-o", motion)
        assert lia(*command, "--model", tmp_path / f"{scale}")[0] == 0
        with safe_open(motion, "numpy") as file:
            left, _, right, _ = json.loads(file.metadata()["crop_square"])
        widths.append(right - left)
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)


def test_a_copied_project_animates_with_its_own_champion_though_the_original_is_gone(project, tmp_path):
    program = """
from pathlib import Path
from lia_model.registry import aliases, models, runs
from pipelines.environment import read_environment

environment = read_environment(Path.cwd())
environment.activate()
run = runs.open_run("first", environment.paths.artifacts, {}, {})
version = models.register("lia", Path("model"), run.run_id, {})
aliases.set_alias("lia", aliases.CHAMPION, version)
"""
    original, copy = tmp_path / "original", tmp_path / "copy"
    shutil.copytree(project, original, symlinks=True)
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIA_", "MLFLOW_"))
    }
    run = partial(subprocess.run, env=variables, text=True, capture_output=True, timeout=300)
    done = run([sys.executable, "-c", program], cwd=original)
    assert done.returncode == 0, done.stderr
    shutil.copytree(original, copy, symlinks=True)
    original.rename(tmp_path / "gone")
    command = [Path(sys.executable).parent / "lia", "animate", "portrait.png", "clip.mp4", "-o", "out.mp4"]
    done = run([*command, "--no-crop", "--device", "cpu"], cwd=copy)
    assert done.returncode == 0, done.stderr
    assert probe(copy / "out.mp4").num_frames == 5
    assert not original.exists()


def test_the_installed_command_does_so_too(project, tmp_path):
    Image.new("RGBA", (40, 40)).save(tmp_path / "alpha.png")
    command = [Path(sys.executable).parent / "lia", "animate", tmp_path / "alpha.png", "clip.mp4"]
    options = ["-o", tmp_path / "out.mp4", "--model", "model", "--no-crop", "--device", "cpu"]
    done = subprocess.run([*command, *options], cwd=project, text=True, capture_output=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == (
        f"lia: got {tmp_path}/alpha.png with an alpha channel; a picture in 8-bit RGB or grey is "
        "needed; convert it, or ask for conversion (--convert)\n"
    )
