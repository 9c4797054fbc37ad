import pytest
import torch

from lia_model.ops.l1 import sum_of_l1
from tests.lia_model.ops.parity import drawn, dtypes, layouts
from tests.lia_model.ops.traffic import counted, size_bytes

# The largest is of several blocks.
SHAPES = ((2, 5, 4, 3), (1, 3, 1, 1), (2, 40, 11, 13), (7,))


def pairs(dtype, device="cpu", layout="nchw"):
    """Features of several shapes, some of which are equal in places, and their targets in another layout."""
    got, wanted = [], []
    for seed, shape in enumerate(SHAPES):
        at = layout if len(shape) == 4 else "nchw"
        got.append(drawn(shape, dtype, device, at, seed))
        target = drawn(shape, dtype, device, seed=seed + 9).detach()
        wanted.append(torch.where(target > 1, got[-1].detach(), target).requires_grad_())
    return got, wanted


def test_it_is_the_sum_of_the_mean_distances():
    got, wanted = pairs(torch.float64)
    value = sum_of_l1(got, wanted)
    torch.testing.assert_close(value, sum((a - b).abs().mean() for a, b in zip(got, wanted, strict=True)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_its_gradients_are_those_of_autograd_bit_for_bit(dtype):
    got, wanted = pairs(dtype)
    exact = torch.promote_types(dtype, torch.float32)
    plain = torch.stack([(a - b).abs().mean(dtype=exact) for a, b in zip(got, wanted, strict=True)]).sum()
    value = sum_of_l1(got, wanted, "reference")
    torch.testing.assert_close(value, plain, atol=0, rtol=1e-6)
    for one, other in zip(*(torch.autograd.grad(3 * each, got) for each in (value, plain)), strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other)


@dtypes
@layouts
def test_the_kernel_computes_the_same_and_gives_the_same_gradients(kernel_device, dtype, layout):
    got, wanted = pairs(dtype, kernel_device, layout)
    values = [sum_of_l1(got, wanted, impl) for impl in ("reference", "fused")]
    torch.testing.assert_close(*values, atol=0, rtol=1e-5 if dtype == torch.float32 else 1e-2)
    for one, other in zip(*(torch.autograd.grad(3 * value, got) for value in values), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_the_target_gets_no_gradient(kernel_device, impl):
    got, wanted = pairs(torch.float32, kernel_device)
    sum_of_l1(got, wanted, impl).backward()
    assert all(each.grad is None for each in wanted)
    assert all(each.grad is not None for each in got)


def test_what_is_not_a_number_shows_in_the_kernels_value_and_gradient(kernel_device):
    got, wanted = pairs(torch.float32, kernel_device)
    wanted[2].data[0, 0, 0, 0] = torch.nan
    value = sum_of_l1(got, wanted, "fused")
    assert value.isnan()
    assert torch.autograd.grad(value, got)[2][0, 0, 0, 0].isnan()


def test_all_pairs_take_one_launch_and_a_sum_and_move_nothing_twice(monkeypatch):
    got, wanted = pairs(torch.bfloat16)
    with counted(monkeypatch) as forward:
        value = sum_of_l1(got, wanted)
    assert forward.launches == ["_forward_kernel", "aten::sum"]
    one = torch.ones(())
    with counted(monkeypatch) as backward:
        torch.autograd.grad(value, got, one)
    assert backward.launches == ["_backward_kernel"]
    assert backward.num_bytes <= 3 * sum(map(size_bytes, got)) + 4
