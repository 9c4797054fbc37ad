from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from lia_model.animation.options import AnimationOptions
from pipelines.commands.animate import Inference
from tests.ports import free_port


def test_every_option_of_animate_reaches_it(lia, root, record):
    result = SimpleNamespace(num_frames=7, fps=Fraction(25))
    calls = record("pipelines.commands.animate.run_animate", result)
    options = "--convert --precision bf16 --compilation inductor --device cpu --model m --mode absolute"
    video = ("--video-decoder", "gpu", "--video-encoder", "auto")
    done = lia("animate", "a.png", "b.mp4", "-o", "c.mp4", *options.split(), *video)
    assert (done.code, done.out) == (0, "c.mp4: 7 frames at 25.000 fps\n")
    (call,) = calls
    request = call["request"]
    assert (request.source, request.driving, request.output) == (Path("a.png"), Path("b.mp4"), Path("c.mp4"))
    assert request.options == AnimationOptions(mode="absolute")
    assert request.convert
    assert call["inference"] == Inference("m", "cpu", "bf16", "inductor", "gpu", "auto")
    assert call["root"] == root


@pytest.mark.parametrize(
    "bad", [("--precision", "fp8"), ("--compilation", "maybe"), ("--mode", "sideways"), ("--sidewise",)]
)
def test_an_unknown_choice_or_option_is_wrong_use(lia, bad):
    told = lia("animate", "a.png", "b.mp4", "-o", "c.mp4", *bad).error
    assert bad[-1] in told
    assert told.endswith("see `lia animate --help`")
    assert "Value error" not in told


def test_options_that_contradict_each_other_are_refused_in_one_line(lia):
    refused = lia("animate", "a.png", "b.mp4", "-o", "c.mp4", "--face", "all")
    assert refused.error.startswith("face is all without paste_back")


def test_a_missing_file_is_refused_in_one_line_before_a_model_is_loaded(lia):
    told = "a.png does not exist: give an image or a video"
    assert lia("animate", "a.png", "b.mp4", "-o", "c.mp4").error == told
    assert lia("motion", "extract", "a.png", "-o", "c.safetensors").error == told
    assert lia("manipulate", "a.png", "-o", "out").error == told


def test_every_option_of_motion_extract_reaches_it(lia, record):
    found = SimpleNamespace(weights=[0] * 5, fps=Fraction(30000, 1001))
    calls = record("pipelines.commands.animate.run_extract", found)
    options = "--no-crop --convert --model m --precision fp16 --device cuda:1"
    done = lia("motion", "extract", "b.mp4", "-o", "b.safetensors", *options.split())
    assert (done.code, done.out) == (0, "b.safetensors: 5 frames at 29.970 fps\n")
    (call,) = calls
    assert (call["driving"], call["output"]) == (Path("b.mp4"), Path("b.safetensors"))
    assert (call["crop"], call["convert"]) == (False, True)
    assert call["inference"] == Inference("m", "cuda:1", "fp16")


def test_every_option_of_manipulate_reaches_it(lia, record):
    calls = record("pipelines.commands.animate.run_manipulate", 20)
    options = "--range 1.5 --frames 4 --no-crop --convert"
    done = lia("manipulate", "a.png", "-o", "out", *options.split())
    assert done.code == 0
    assert "20 directions" in done.out
    request = calls[0]["request"]
    assert (request.source, request.output) == (Path("a.png"), Path("out"))
    assert (request.reach, request.num_frames) == (1.5, 4)
    assert request.convert
    assert not calls[0]["crop"]


def test_the_service_is_of_the_champion_at_the_port_of_the_variable(lia, root, record, monkeypatch):
    calls = record("pipelines.commands.serve.run_serve")
    monkeypatch.setenv("LIA_SERVE_PORT", "8123")
    lia("serve")
    lia("serve", "--host", "::1", "--port", "9", "--model", "models:/lia/3")
    places = [(call["host"], call["port"], call["model"]) for call in calls]
    assert places == [("127.0.0.1", 8123, "models:/lia@champion"), ("::1", 9, "models:/lia/3")]
    assert [call["block"] for call in calls] == [True, True]
    assert calls[0]["environment"].paths.root == root


def test_a_public_service_without_a_token_is_refused_in_one_line(lia):
    assert lia("serve", "--host", "0.0.0.0").error.startswith("got host 0.0.0.0 without a token")


@pytest.mark.parametrize("code", [0, 1])
def test_every_option_of_a_batch_reaches_it(lia, root, record, code):
    calls = record("pipelines.commands.batch.command.run_batch", code)
    assert lia("batch", "rows.csv", "-o", "out").code == code
    lia("batch", "s3://b/rows.csv", "-o", "s3://b/out", "--endpoint", "http://far.example", "--model", "m")
    assert [call["manifest"] for call in calls] == ["rows.csv", "s3://b/rows.csv"]
    assert [call["output"] for call in calls] == ["out", "s3://b/out"]
    assert [call["endpoint"] for call in calls] == [None, "http://far.example"]
    assert [call["model"] for call in calls] == [None, "m"]
    assert calls[0]["environment"].paths.root == root


def test_a_batch_without_a_model_is_refused_in_one_line(lia, root, monkeypatch):
    (root / "rows.csv").write_text("source,driving\na.png,b.mp4\n")
    monkeypatch.setenv("LIA_SERVE_PORT", str(free_port()))
    assert lia("batch", "rows.csv", "-o", "out", "--model", "gone").error.startswith(
        "model 'gone' is neither"
    )
    with_service = ("--endpoint", "http://127.0.0.1:1", "--model", "m")
    refused = lia("batch", "rows.csv", "-o", "out", *with_service).error
    assert refused.startswith("got the model m and the service at http://127.0.0.1:1")
