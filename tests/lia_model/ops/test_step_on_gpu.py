"""What a training step or a frame does on a GPU, seen on the CPU: no waits, no transposed pictures."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lia_model.inference import InferenceModel
from lia_model.losses.imagenet_features import VggFeatures
from lia_model.losses.perceptual import PerceptualLoss
from lia_model.losses.terms import LossTerm, Objective, build_objective
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from lia_model.training.ema import update_average
from lia_model.training.pairs.augmentation import apply_change, draw_change
from lia_model.training.state import new_state
from lia_model.training.step import Networks, training_step
from tests.lia_model.ops.traffic import counted

CPU = torch.device("cpu")
# Reading a number, or a result whose size depends on numbers; making a tensor of Python's numbers, which is
# copied to the GPU; a solver that looks at its error code.
WAITS = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "lift_fresh",
    "linalg_inv_ex",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique2",
}
# With how many pictures they begin.
CONVOLUTIONS = {"convolution": 1, "convolution_backward": 2}


class Watch(TorchDispatchMode):
    """Notes what a GPU would make the host wait for, and convolutions of features not in channels_last."""

    def __init__(self):
        super().__init__()
        self.waits = []
        self.transposed = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name in WAITS:
            self.waits.append(name)
        if name in CONVOLUTIONS:
            pictures = args[: CONVOLUTIONS[name]]
            self.transposed += [
                (name, tuple(x.shape), x.stride())
                for x in pictures
                if x.shape[1] > 3 and not x.is_contiguous(memory_format=torch.channels_last)
            ]
        return func(*args, **(kwargs or {}))


def perceptual_loss():
    """With a narrow VGG16 of random weights."""
    names = [f"conv{block}_{layer}" for block in range(1, 6) for layer in range(1, 4)]
    weights = {f"{name}.bias": torch.zeros(8) for name in names}
    weights |= {f"{name}.weight": torch.randn(8, 3 if name == "conv1_1" else 8, 3, 3) for name in names}
    return PerceptualLoss(VggFeatures("vgg16", weights))


@pytest.fixture
def step(train_settings, monkeypatch):
    """A training step of all terms, as on a GPU but for the kernels."""
    r1 = train_settings.losses.adversarial.r1.model_copy(update={"weight": 10.0, "every_turns": 2})
    adversarial = train_settings.losses.adversarial.model_copy(update={"r1": r1})
    losses = train_settings.losses.model_copy(update={"adversarial": adversarial})
    state = new_state(train_settings, 32, CPU)
    objective = build_objective(losses, CPU)
    perceptual = perceptual_loss()
    term = LossTerm("perceptual", lambda outputs: perceptual(outputs.fake, outputs.driving), 1.0)
    objective = Objective((*objective.generator, term), objective.discriminator)
    networks = Networks(
        state.generator,
        state.discriminator,
        state.generator_optimizer,
        state.discriminator_optimizer,
        max_gradient_norm=1.0,
    )
    images = torch.rand(2, 4, 3, 32, 32) * 2 - 1

    def run(number):
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=False)
        values = training_step(networks, *images, step=number, objective=objective, autocast=autocast)
        update_average(state.average, state.generator, 0.99, number + 1)
        return values

    return run


def test_nothing_between_two_reports_waits_for_the_gpu(step, monkeypatch):
    step(0)  # The optimizers make their state.
    with Watch() as watch, counted(monkeypatch):
        values = step(2)
    assert {"r1", "perceptual", "l1"} <= set(values)
    assert watch.waits == []


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"]
)
@pytest.mark.parametrize("part", ["weigh_images", "paint_bytes", "repaint_bytes"])
def test_what_is_recorded_as_a_graph_waits_for_nothing_and_copies_nothing_from_the_host(
    dtype, part, monkeypatch
):
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    model = InferenceModel(build_generator(settings), dtype)
    images, weights, own_share = torch.zeros(2, 3, 32, 32), torch.zeros(2, 4), torch.ones(1, 1)
    with torch.inference_mode():
        code, features = model.encode(images[:1])
        inputs = {
            "weigh_images": (images,),
            "paint_bytes": (weights, code, *features),
            "repaint_bytes": (images, weights, own_share),
        }
        with Watch() as watch, counted(monkeypatch):
            getattr(model, part)(*inputs[part])
    assert watch.waits == []
    assert watch.transposed == []


def test_augmentation_does_not_wait_for_the_gpu(train_settings):
    settings = train_settings.augmentation.model_copy(
        update={"flip": True, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1}
    )
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    with Watch() as watch:
        apply_change(images, draw_change(settings, seed=0, number=1))
    assert watch.waits == []


def test_the_watch_sees_a_number_that_is_read_and_one_that_is_copied():
    with Watch() as watch:
        float(torch.ones(()) + torch.tensor(1.0))
    assert sorted(watch.waits) == ["_local_scalar_dense", "lift_fresh"]


def test_no_convolution_gets_features_or_gradients_in_another_layout_than_channels_last(step, monkeypatch):
    # Without the R1 penalty, in whose second derivatives torch exchanges samples and channels.
    with Watch() as watch, counted(monkeypatch):
        assert "r1" not in step(1)
    assert watch.transposed == []


class WatchWeights(TorchDispatchMode):
    """Counts conversions of weights, and notes those of convolutions that are not in channels_last."""

    def __init__(self):
        super().__init__()
        self.transposed = []
        self.num_conversions = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name in CONVOLUTIONS:
            weight = args[CONVOLUTIONS[name]]
            if weight.shape[1] > 3 and not weight.is_contiguous(memory_format=torch.channels_last):
                self.transposed.append((name, tuple(weight.shape)))
        if name in ("clone", "_to_copy"):
            self.num_conversions += args[0].shape[2:] == (3, 3)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_weights_of_vgg_are_converted_and_laid_out_once(dtype, monkeypatch):
    monkeypatch.setattr("lia_model.ops.frozen_conv2d._is_laid_out_on", lambda device, dtype: False)
    loss = perceptual_loss()
    loss.dtype = dtype
    fake, target = torch.rand(2, 2, 3, 32, 32)
    fake.requires_grad_()
    counts = []
    for _ in range(2):
        with WatchWeights() as watch:
            loss(fake, target).backward()
        assert watch.transposed == []
        counts.append(watch.num_conversions)
    assert counts[0] >= len(loss.features.names) - 1
    assert counts[1] == 0
