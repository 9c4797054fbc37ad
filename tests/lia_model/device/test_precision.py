import ast
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import lia_model
from lia_model.animator import Animator
from lia_model.device import precision
from lia_model.device.precision import ResolvedPrecision, float32_products, resolve_precision
from lia_model.losses.terms import LossTerm, Objective
from lia_model.settings import Precision
from lia_model.training.state import new_state
from lia_model.training.step import Networks, training_step

CPU = torch.device("cpu")
BOTH: list[ResolvedPrecision] = ["fp32", "tf32"]
OTHERS: list[Precision] = ["fp32", "bf16", "fp16"]
LEGACY = {"allow_tf32", "set_float32_matmul_precision", "get_float32_matmul_precision"}


@pytest.fixture(autouse=True)
def _exact_products():
    """Here torch's own settings are found, not those of the other tests."""


def settings():
    return [each.fp32_precision for each in precision._operations()]


def test_auto_depends_on_the_hardware_and_the_others_are_taken_as_they_are():
    assert resolve_precision("auto", CPU) in ("fp32", "bf16")
    assert [resolve_precision(each, CPU) for each in OTHERS] == OTHERS


def test_a_device_without_tf32_computes_fp32_and_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("tf32", CPU) == "fp32"
    assert "Ampere" in caplog.text


@pytest.mark.parametrize(
    ("chosen", "wanted"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee"), ("fp16", "ieee")]
)
def test_only_tf32_rounds_the_products_of_float32(chosen, wanted):
    before = settings()
    with float32_products(chosen):
        assert settings() == [wanted] * 3
    assert settings() == before


def test_exact_products_inside_tf32_are_exact_and_the_other_way_round():
    for outer, inner in (BOTH, BOTH[::-1]):
        with float32_products(outer):
            with float32_products(inner):
                assert set(settings()) == {"ieee"}
            assert set(settings()) == {"tf32" if outer == "tf32" else "ieee"}


def test_a_thread_that_ends_later_leaves_nothing_behind():
    before, inside, end = settings(), threading.Event(), threading.Event()

    def use():
        with float32_products("tf32"):
            inside.set()
            end.wait(10)

    thread = threading.Thread(target=use)
    with float32_products("fp32"):
        thread.start()
        assert inside.wait(10)
        assert set(settings()) == {"ieee"}
    assert set(settings()) == {"tf32"}
    end.set()
    thread.join()
    assert settings() == before


def test_torch_reads_its_older_settings_before_and_after():
    for chosen in BOTH:
        with float32_products(chosen):
            pass
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"


def test_an_exception_ends_the_choice():
    before = settings()
    with pytest.raises(KeyError), float32_products("tf32"):
        raise KeyError
    assert settings() == before


@pytest.mark.parametrize("is_exact", [True, False])
def test_a_penalty_on_the_images_gradient_is_exact_where_training_is_not(train_settings, is_exact):
    state = new_state(train_settings, 32, CPU)
    seen = set()

    def look(outputs):
        seen.update(settings())
        outputs.real_logits.register_hook(lambda _: seen.update(settings()))
        return outputs.real_logits.mean()

    objective = Objective(
        (LossTerm("l1", lambda outputs: outputs.fake.abs().mean(), 1.0),),
        (LossTerm("penalty", look, 1.0, needs_image_gradient=is_exact),),
    )
    networks = Networks(
        state.generator, state.discriminator, state.generator_optimizer, state.discriminator_optimizer
    )
    with float32_products("tf32"):
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=False)
        training_step(networks, *torch.rand(2, 2, 3, 32, 32), step=0, objective=objective, autocast=autocast)
    assert seen == {"ieee" if is_exact else "tf32"}


def test_an_animator_computes_in_its_precision(generator, monkeypatch):
    animator, seen = Animator(generator, precision="fp32"), []
    for name in ("_weigh_batch", "_paint_batch"):
        run = getattr(animator, name)
        monkeypatch.setattr(
            animator, name, lambda *inputs, run=run: (seen.append(settings()), run(*inputs))[1]
        )
    frames = [np.zeros((32, 32, 3), np.uint8)] * 2
    for chosen in BOTH:
        monkeypatch.setattr(animator, "precision", chosen)
        assert len(list(animator.animate(frames[0], frames))) == 2
    assert [set(each) for each in seen] == [{"ieee"}] * 2 + [{"tf32"}] * 2


def test_no_other_file_of_the_model_touches_the_settings():
    touching = []
    for path in Path(lia_model.__file__).parent.rglob("*.py"):
        names = {
            node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
        }
        assert not names & LEGACY, path
        if "fp32_precision" in names:
            touching.append(path.name)
    assert touching == ["precision.py"]


def test_networks_compile_under_either_choice():
    for chosen in BOTH:
        with float32_products(chosen):
            compiled = torch.compile(lambda x: x @ x, backend="aot_eager", fullgraph=True)
            torch.testing.assert_close(compiled(torch.eye(3)), torch.eye(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_convolutions_and_products_on_a_gpu_are_exact_unless_tf32_is_chosen():
    x, weight = torch.randn(2, 256, 16, 16, device="cuda"), torch.randn(64, 256, 3, 3, device="cuda")
    rows = torch.randn(512, 512, device="cuda")
    errors = {}
    for chosen in BOTH:
        with float32_products(chosen):
            pairs = (
                (functional.conv2d(x, weight), functional.conv2d(x.double(), weight.double())),
                (rows @ rows, rows.double() @ rows.double()),
            )
            errors[chosen] = [((got - exact).abs().max() / exact.abs().max()).item() for got, exact in pairs]
    assert max(errors["fp32"]) < 1e-5 < min(errors["tf32"])
