import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lia_model.device.compilation import require_compiler

# The shape checks of the test run cannot be compiled, so this happens in a process without them.
ACTIVATED_LAYER = """
import torch
from lia_model.networks.layers import EqualizedLinear

torch.manual_seed(0)
x = torch.randn(4, 16)
hidden, last = EqualizedLinear(16, 8, activate=True).double(), EqualizedLinear(8, 1).double()
results = []
for run in (hidden, torch.compile(hidden, dynamic=False)):
    y = last(run(x.double()))
    results.append([y, *torch.autograd.grad(y.mean(), [*hidden.parameters(), *last.parameters()])])
for eager, compiled in zip(*results, strict=True):
    torch.testing.assert_close(compiled, eager, rtol=1e-12, atol=1e-12)
"""


def test_inductor_keeps_the_gain_of_an_activation_behind_a_matrix_product(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ACTIVATED_LAYER],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("device", "variable"), [("cpu", "CXX"), ("cuda", "CC")])
def test_a_compiler_that_is_nowhere_is_named_with_what_to_do(monkeypatch, device, variable):
    monkeypatch.setenv(variable, "/nowhere/compiler")
    with pytest.raises(ValueError, match=f"lacks the compiler /nowhere/compiler: .* {variable}, or set"):
        require_compiler(torch.device(device))


def test_missing_headers_of_python_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match="lacks Python's headers: install that"):
        require_compiler(torch.device("cpu"))
    (tmp_path / "Python.h").touch()
    require_compiler(torch.device("cpu"))
