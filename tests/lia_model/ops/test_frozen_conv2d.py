import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lia_model.ops import frozen_conv2d
from lia_model.ops.frozen_conv2d import FrozenConvRelu


def layer(kernel_px=3, **shape):
    return FrozenConvRelu(torch.randn(8, 5, kernel_px, kernel_px), torch.randn(8), **shape)


def results(convolve, x, grad):
    x = x.detach().requires_grad_(True)
    y = convolve(x)
    return y.detach(), *torch.autograd.grad(y, x, grad.to(y.dtype))


def plain(layer, x):
    weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
    y = functional.conv2d(x, weight, bias, stride=layer.stride, padding=layer.padding_px)
    return functional.relu(y)


@pytest.mark.parametrize(
    ("kernel_px", "shape"),
    [(1, {}), (3, {"padding_px": 1}), (5, {"padding_px": 2}), (3, {"stride": 2, "padding_px": 1}), (3, {})],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_a_plain_convolution(kernel_px, shape, layout):
    convolution = layer(kernel_px, **shape)
    x = torch.randn(3, 5, 12, 9).contiguous(memory_format=layout)
    expected_y = plain(convolution, x)
    grad = torch.randn_like(expected_y)
    torch.testing.assert_close(
        results(convolution, x, grad), results(lambda x: plain(convolution, x), x, grad), rtol=1e-4, atol=1e-4
    )


def test_it_computes_in_the_type_of_its_input_whatever_autocast_says():
    convolution = layer(padding_px=1)
    x, grad = torch.randn(2, 5, 8, 8), torch.randn(2, 8, 8, 8)
    # A sum near zero may have the other sign in bf16; the ReLU then passes, or stops, a whole gradient.
    grad *= functional.conv2d(x, convolution.weight, convolution.bias, padding=1).abs() > 0.2
    with torch.autocast("cpu", torch.bfloat16):
        exact = results(convolution, x, grad)
    assert exact[0].dtype == torch.float32
    half = results(convolution, x.bfloat16(), grad)
    assert half[0].dtype == half[1].dtype == torch.bfloat16
    for a, b in zip(exact, half, strict=True):
        assert (a - b).norm() < 0.01 * a.norm()
    assert results(convolution, x.double(), grad)[0].dtype == torch.float64


class Names(TorchDispatchMode):
    """Notes the operators that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__.split(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("has_layouts", [True, False])
def test_weights_are_prepared_once(monkeypatch, has_layouts):
    if not has_layouts:
        monkeypatch.setattr(frozen_conv2d, "_is_laid_out_on", lambda device, dtype: False)
    elif not frozen_conv2d._is_laid_out_on(torch.device("cpu"), torch.bfloat16):
        pytest.skip("torch offers no layouts of weights on this processor")
    convolution, x = layer(padding_px=1), torch.randn(2, 5, 8, 8).bfloat16()
    calls = []
    for _ in range(2):
        with Names() as calls_of, torch.no_grad():
            convolution(x)
        calls.append(calls_of.names)
    assert len(calls[1]) <= 2 < len(calls[0])
    assert not {"_to_copy", "_reorder_convolution_weight"} & set(calls[1])


def test_weights_that_change_their_type_are_prepared_anew():
    convolution, x = layer(padding_px=1), torch.randn(2, 5, 8, 8)
    before = convolution(x)
    convolution.to(torch.bfloat16).float()
    assert not torch.equal(convolution(x), before)
    torch.testing.assert_close(convolution(x), plain(convolution, x), rtol=1e-4, atol=1e-4)
