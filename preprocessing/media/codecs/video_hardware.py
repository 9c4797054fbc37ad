"""Video decoding and encoding on an NVIDIA GPU (NVDEC, NVENC): what a machine has of them.

They are two engines: data centre cards (A100, H100, H200) decode but have no encoder, and each decoder knows
some codecs only.
"""

import logging
from fractions import Fraction
from typing import Literal

from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel, HWDeviceType
from av.error import FFmpegError

logger = logging.getLogger(__name__)

NVENC = ("h264_nvenc", {"rc": "vbr", "cq": "19", "preset": "p5"})
"""Encoder and its options, of about the quality of x264 at crf 18."""
_warned: set[str] = set()


class NoVideoHardwareError(ValueError):
    """No GPU of this machine can do the requested decoding or encoding.

    Args:
        task: `decoding` or `encoding`.
        error: why not, or the error that says so.
    """

    def __init__(self, task: str, error: object) -> None:
        self.reason = f"no NVIDIA GPU here supports it ({error})"
        self.task = task
        super().__init__(
            f"hardware {task} of video was asked for, but {self.reason}; "
            "use the CPU, or install the driver's video libraries"
        )


def gpu_decoder(codec: Codec | None = None) -> HWAccel:
    """Return the accelerator to open a file with.

    Args:
        codec: what is to be decoded; None stands for H.264.

    Raises:
        NoVideoHardwareError: no GPU here decodes it.
    """
    codec = codec or Codec("h264", "r")
    try:
        if not any(each.device_type == HWDeviceType.cuda for each in codec.hardware_configs):
            raise ValueError(f"its decoder does not know {codec.canonical_name}")
        accelerator = HWAccel(device_type="cuda", allow_software_fallback=False)
        accelerator.create(codec)
    except (FFmpegError, RuntimeError, ValueError) as error:
        raise NoVideoHardwareError("decoding", error) from error
    return accelerator


def require_gpu_encoder() -> None:
    """Check that NVENC works, which shows only when an encoder is opened.

    Raises:
        NoVideoHardwareError: no GPU here encodes video.
    """
    try:
        encoder = CodecContext.create(NVENC[0], "w")
        encoder.width = encoder.height = 256
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.open()
    except (FFmpegError, ValueError) as error:
        raise NoVideoHardwareError("encoding", error) from error


def takes_gpu_encoder(wanted: Literal["cpu", "gpu", "auto"]) -> bool:
    """Return whether to encode on the GPU, which is tried; `auto` warns once where it cannot.

    Raises:
        NoVideoHardwareError: `gpu` is wanted, and no GPU here encodes video.
    """
    if wanted == "cpu":
        return False
    try:
        require_gpu_encoder()
    except NoVideoHardwareError as error:
        if wanted == "gpu":
            raise
        warn_of_cpu(error)
        return False
    return True


def warn_of_cpu(error: NoVideoHardwareError) -> None:
    """Log, once for each reason, that the CPU does what a GPU was asked for."""
    if str(error) not in _warned:
        _warned.add(str(error))
        logger.warning("the CPU does the %s of video: %s", error.task, error.reason)
