"""The H.264 encoder on the CPU and its options.

The same images give the same bytes, which needs care: the AVX-512 code of x264 (core 165) for macroblock
trees reads past the end of a row of macroblocks unless their number is a multiple of eight, so that the
video depends on what the memory held before. Other widths take the AVX2 code, which is about 7 % slower.
"""

from functools import cache
from pathlib import Path
from typing import Literal

CPU_FEATURES = Path("/proc/cpuinfo")
WIDTH_OF_EIGHT_MACROBLOCKS = 128


def x264(width_px: int) -> tuple[Literal["libx264"], dict[str, str]]:
    """Return the name of the encoder and its options for a video of this width on this machine."""
    options = {"crf": "18", "preset": "medium"}
    if width_px % WIDTH_OF_EIGHT_MACROBLOCKS and _has_avx512():
        options["x264-params"] = "asm=AVX2,FMA3,BMI2"
    return "libx264", options


@cache
def _has_avx512() -> bool:
    return CPU_FEATURES.is_file() and "avx512" in CPU_FEATURES.read_text(encoding="utf-8", errors="replace")
