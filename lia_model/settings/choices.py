"""Types that settings of several sections share: what may be chosen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Mode = Literal["relative", "absolute"]
"""Motion relative to the driving clip's starting frame, or absolute."""
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Compilation = Literal["none", "inductor", "cuda-graphs"]
VideoDecoder = Literal["cpu", "gpu"]
VideoEncoder = Literal["cpu", "gpu", "auto"]
Unit = Annotated[float, Field(ge=0, le=1)]
