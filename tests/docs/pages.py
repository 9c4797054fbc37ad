"""The pages as text, and the blocks of commands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/pages").glob("*.md"))
_FENCE = re.compile(r"^``` *(\{ \.bash \.tested \}|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(tested_only=False):
    """Return (page, block) of every block of shell commands."""
    return [
        (page.name, block)
        for page in PAGES
        for kind, block in _FENCE.findall(page.read_text())
        if "tested" in kind or not tested_only
    ]
