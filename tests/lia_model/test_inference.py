from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lia_model.inference import InferenceModel, fold_head
from lia_model.losses.image_distances import psnr
from lia_model.networks.build import build_generator
from lia_model.ops import dispatch
from lia_model.settings import NetworkSettings


@pytest.fixture
def images(network):
    return (
        torch.rand(3, 2, 3, network.size_px, network.size_px, generator=torch.Generator().manual_seed(0)) * 2
        - 1
    )


def animated(model, source, driving, start):
    code, features = model.encode(source)
    offset = model.weigh(code) - model.weigh(model.encode(start)[0])
    return model(driving, code, features, offset)


@torch.inference_mode()
def test_it_computes_the_same_as_the_generator(generator, images):
    source, driving, start = images
    wanted = generator(source, driving, generator.motion_weights(start))
    torch.testing.assert_close(
        animated(InferenceModel(generator), source, driving, start), wanted, atol=1e-4, rtol=0
    )


@torch.inference_mode()
def test_one_source_serves_a_batch_of_driving_frames(generator, images):
    source, driving, start = images
    model = InferenceModel(generator)
    whole = animated(model, source[:1], driving, start[:1])
    each = torch.cat([animated(model, source[:1], frame[None], start[:1]) for frame in driving])
    torch.testing.assert_close(whole, each, atol=1e-4, rtol=0)


def test_the_generator_is_not_modified(generator):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    InferenceModel(generator, torch.bfloat16)
    after = generator.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@torch.inference_mode()
def test_the_folded_head_equals_the_five_layers(generator):
    head = generator.motion_head.double()
    code = torch.randn(4, head.layers[0].weight.shape[1], dtype=torch.float64)
    weight, bias = fold_head(head)
    torch.testing.assert_close(code @ weight.T + bias, head(code))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_picture(dtype):
    settings = NetworkSettings(size_px=64, width=0.125, latent_dim=64, num_directions=10)
    generator = build_generator(settings, 0).eval()
    generator.synthesis.weaken_flow(0.05, 2.0)
    source, driving, start = torch.rand(3, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    exact, half = (
        animated(InferenceModel(generator, kind), source, driving, start).float().clamp(-1, 1)
        for kind in (torch.float32, dtype)
    )
    assert psnr((exact + 1) / 2, (half + 1) / 2).min() > 40


class DeviceOnly(TorchDispatchMode):
    """Fails where the host takes part: its tensors, copies to or from them, values that it has to wait for.

    Tensors without memory (`meta`) stand for the GPU's.
    """

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "item")

    def __init__(self) -> None:
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").split(".")[0]
        assert name not in self.WAITS, f"{func} makes the host wait"
        result = func(*args, **(kwargs or {}))
        devices = {
            each.device.type for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)
        }
        assert devices <= {"meta"}, f"{func} works on {devices}"
        self.ops.append(name)
        return result


@pytest.mark.parametrize("impl", ["reference", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()  # In inference mode, an op made of others would hide them.
def test_what_is_recorded_leaves_the_host_alone(generator, dtype, impl, monkeypatch):
    from lia_model.ops import kernels

    # Nothing is computed, so kernels need no GPU. Tensors without memory know no autocast, which is off here.
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    model = InferenceModel(generator, dtype).to("meta")
    images, walks = torch.empty(4, 3, 32, 32, device="meta"), torch.empty(4, 4, device="meta")
    own_share = torch.empty(1, 1, device="meta")
    code, features = model.encode(images)
    with dispatch.use(impl), DeviceOnly() as seen:
        assert model.weigh_images(images).shape == (4, 4)
        for count in (1, 4):
            painted = model.paint_bytes(walks, code[:count], *(each[:count] for each in features))
            assert (painted.shape, painted.dtype) == ((4, 32, 32, 3), torch.uint8)
        assert model.repaint_bytes(images, walks, own_share).shape == (4, 32, 32, 3)
    assert ("lia::flow_warp" in seen.ops) == (impl == "fused")
    assert seen.ops.count("convolution") > 20


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x + torch.ones(3),
        lambda x: x.copy_(torch.ones(3)),
        lambda x: torch.arange(3),
    ],
)
def test_the_check_for_the_host_finds_it(forbidden):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), DeviceOnly():
        forbidden(torch.empty(3, device="meta"))
