"""Video decoding and encoding on an NVIDIA GPU (NVDEC, NVENC), and the error where there is none."""

from fractions import Fraction

from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

NVENC = ("h264_nvenc", {"rc": "vbr", "cq": "19", "preset": "p5"})
"""Encoder and its options, of about the quality of x264 at crf 18."""


class NoVideoHardwareError(ValueError):
    """No GPU of this machine can do the requested decoding or encoding.

    Args:
        task: `decoding` or `encoding`.
        error: why not.
    """

    def __init__(self, task: str, error: Exception) -> None:
        super().__init__(
            f"hardware {task} of video was asked for, but no NVIDIA GPU here supports it ({error}); "
            "use the CPU, or install the driver's video libraries"
        )


def gpu_decoder() -> HWAccel:
    """Return the accelerator to open a file with.

    Raises:
        NoVideoHardwareError: no GPU here decodes video.
    """
    try:
        accelerator = HWAccel(device_type="cuda", allow_software_fallback=False)
        accelerator.create(Codec("h264", "r"))
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
