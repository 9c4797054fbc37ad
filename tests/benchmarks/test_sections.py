import subprocess
import sys

import pytest

MEASURED = """
import sys
sys.modules[{missing!r}] = None
import argparse, torch
from tests.benchmarks import __main__ as program
options = argparse.Namespace(sections=[{section!r}], rounds=1, quick=True)
assert list(program.measure(options, torch.device("cpu"))) == []
"""


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ("end to end", "av"),
        ("end to end", "insightface"),
        ("factory", "insightface"),
        ("loader", "PIL"),
        ("planning", "pyarrow"),
        ("service", "httpx"),
    ],
)
def test_a_section_whose_library_is_missing_is_left_out_with_a_word(section, missing):
    program = MEASURED.format(section=section, missing=missing)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"(no rows of {section}: ")
    assert missing in done.stdout
