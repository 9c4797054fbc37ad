import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from lia_model.device.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def touch():
    np.ones(20_000_000, np.uint8)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has the switch")
def test_freed_buffers_are_used_again_without_page_faults():
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True
            ).stdout
        )
        for word in ("keep", "leave")
    ]
    assert faults[0] < faults[1] / 10
