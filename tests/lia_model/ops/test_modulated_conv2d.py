import pytest
import torch
from torch.nn import functional

from lia_model.inference import InferenceModel
from lia_model.networks.build import build_generator
from lia_model.networks.modulation import in_a_row
from lia_model.ops import dispatch
from lia_model.ops.modulated_conv2d import EPSILON, demodulation, energy, modulated_conv2d, normalized
from lia_model.ops.upfirdn2d import fir_kernel
from lia_model.settings import NetworkSettings
from tests.lia_model.ops.parity import TOLERANCE


def published(x, weight, style, demodulate, upsample):
    """One grouped convolution with a weight for each sample, as StyleGAN2 writes it."""
    batch, num_in, height, width = x.shape
    num_out, _, k, _ = weight.shape
    w = weight[None] * style[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * num_in, height, width)
    if upsample:
        w = w.transpose(1, 2).reshape(batch * num_in, num_out, k, k)
        y = functional.conv_transpose2d(x, w, stride=2, groups=batch)
        kernel = fir_kernel(4.0).to(y).expand(batch * num_out, 1, 4, 4)
        y = functional.conv2d(functional.pad(y, (1, 1, 1, 1)), kernel, groups=batch * num_out)
    else:
        y = functional.conv2d(x, w.reshape(batch * num_out, num_in, k, k), padding=k // 2, groups=batch)
    return y.view(batch, num_out, *y.shape[2:])


@pytest.mark.parametrize(("kernel_px", "upsample"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_the_input_equals_scaling_each_samples_weights(kernel_px, upsample, demodulate):
    x = torch.randn(3, 5, 7, 7, dtype=torch.float64)
    weight = torch.randn(4, 5, kernel_px, kernel_px, dtype=torch.float64)
    style = torch.randn(3, 5, dtype=torch.float64)
    got = modulated_conv2d(x, weight, style, demodulate=demodulate, upsample=upsample)
    torch.testing.assert_close(got, published(x, weight, style, demodulate, upsample))


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_a_single_image_without_gradient_gives_what_it_gives_in_a_batch(upsample, with_bias, demodulate):
    x = torch.randn(2, 5, 12, 12, dtype=torch.float64)
    weight = torch.randn(4, 5, 3, 3, dtype=torch.float64)
    style = torch.randn(2, 5, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64) if with_bias else None
    with torch.no_grad():
        both = modulated_conv2d(x, weight, style, bias, demodulate=demodulate, upsample=upsample)
        one = modulated_conv2d(x[:1], weight, style[:1], bias, demodulate=demodulate, upsample=upsample)
    assert x[0].numel() > weight.numel()
    torch.testing.assert_close(one, both[:1])


def known(weight, style):
    """A normalised weight and its demodulation."""
    weight, powers = normalized(weight)
    return weight, demodulation(energy(weight), style, EPSILON / powers.square())


@pytest.mark.parametrize("loudness", [1e-3, 1.0, 1e3])
def test_normalised_weights_and_their_demodulation_change_nothing(loudness):
    x, weight, style = torch.randn(2, 5, 6, 6), torch.randn(4, 5, 3, 3) * loudness, torch.randn(2, 5)
    small, factor = known(weight, style)
    assert small.abs().max() <= 1 / 45**0.5
    got = modulated_conv2d(x, small, style, demodulate=factor)
    torch.testing.assert_close(got, modulated_conv2d(x, weight, style))


def test_normalised_weights_are_not_normalised_again_in_half_precision(monkeypatch):
    x, weight, style = torch.randn(2, 64, 6, 6) * 30, torch.randn(4, 64, 3, 3) * 200, torch.randn(2, 64)
    wanted = modulated_conv2d(x, weight, style)
    small, factor = known(weight, style)
    monkeypatch.setattr("lia_model.ops.modulated_conv2d.normalized", None)
    got = modulated_conv2d(x.half(), small.half(), style, demodulate=factor)
    torch.testing.assert_close(got.float(), wanted, atol=5e-3 * wanted.abs().max().item(), rtol=0)


@pytest.mark.parametrize("loud", ["style", "weight"])
@pytest.mark.parametrize("upsample", [False, True])
def test_half_precision_does_not_overflow_where_plain_modulation_would(loud, upsample):
    x, weight, style = torch.randn(2, 64, 6, 6) * 30, torch.randn(4, 64, 3, 3), torch.randn(2, 64)
    if loud == "style":
        style = style * 2000
    else:
        weight = weight * 200
    plain = functional.conv2d(x.half() * style.half()[:, :, None, None], weight.half(), padding=1)
    assert not plain.isfinite().all()
    wanted = modulated_conv2d(x, weight, style, upsample=upsample)
    got = modulated_conv2d(x.half(), weight.half(), style.half(), upsample=upsample)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), wanted, atol=5e-3 * wanted.abs().max().item(), rtol=0)


def test_half_precision_without_demodulation_takes_the_factors_back():
    x, weight, style = torch.randn(2, 6, 5, 5), torch.randn(4, 6, 1, 1) * 0.01, torch.randn(2, 6) * 300
    wanted = modulated_conv2d(x, weight, style, demodulate=False)
    with torch.autocast("cpu", dtype=torch.float16):
        got = modulated_conv2d(x, weight, style, demodulate=False)
    torch.testing.assert_close(got.float(), wanted, atol=5e-3 * wanted.abs().max().item(), rtol=0)


def test_a_style_of_zeros_gives_zeros_in_half_precision():
    x, weight = torch.randn(1, 3, 4, 4).half(), torch.randn(2, 3, 3, 3).half()
    assert not modulated_conv2d(x, weight, torch.zeros(1, 3).half()).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_two_layers_in_a_row_give_the_same_where_the_activation_applies_the_style(kernel_device, dtype):
    settings = NetworkSettings(size_px=32, width=0.1, latent_dim=16, num_directions=4)
    synthesis = InferenceModel(build_generator(settings, seed=0), dtype).to(kernel_device).synthesis
    block = synthesis.blocks[0]
    x = torch.randn(2, block.up.conv.weight.shape[1], 4, 4).to(kernel_device, dtype)
    results = []
    with torch.no_grad():
        _, *of_both = synthesis.modulate(torch.randn(2, 16).to(kernel_device))[:3]
        for impl in ("reference", "fused"):
            with dispatch.use(impl):
                results.append(in_a_row(block.up, block.conv, x, of_both))
    tolerance = TOLERANCE[dtype] * results[0].abs().max().item()
    torch.testing.assert_close(results[1], results[0], atol=tolerance, rtol=0)
