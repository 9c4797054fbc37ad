import pytest
import torch

from lia_model.evaluation.metrics import psnr
from lia_model.inference import InferenceModel, fold_head
from lia_model.networks.build import build_generator
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
