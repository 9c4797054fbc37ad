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


HOLES = """
import numpy as np
from lia_model.device.allocator import keep_freed_memory, return_freed_memory

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

assert keep_freed_memory()
blocks = [np.ones(100_000, np.uint8) for _ in range(1000)]
del blocks[::2]
before = resident_bytes()
return_freed_memory()
print(before - resident_bytes(), sum(int(block.sum()) for block in blocks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has the switch")
def test_pages_between_blocks_in_use_are_returned():
    run = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    returned, kept = map(int, run.stdout.split())
    assert returned > 0.8 * 500 * 100_000
    assert kept == 500 * 100_000
