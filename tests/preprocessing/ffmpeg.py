"""The packaged ffmpeg program, which makes inputs and says independently what they show."""

import subprocess

import imageio_ffmpeg
import numpy as np

EXACT = "scale=flags=accurate_rnd"


def ffmpeg(*arguments):
    """Run ffmpeg and return what it writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def make_pattern(path, *arguments, size="320x240", seconds=0.4, fps=25):
    """Write a moving, colourful picture; soft, since ffmpeg's versions interpolate hard edges differently."""
    source = f"testsrc2=size={size}:rate={fps}:duration={seconds},gblur=sigma=4"
    ffmpeg("-f", "lavfi", "-i", source, *arguments, path)
    return path


def filtered(path, graph=EXACT):
    """Return all pictures of a file as ffmpeg's filter graph renders them, uint8 [T, H, W, 3]."""
    data = ffmpeg(
        "-i",
        path,
        "-vf",
        f"{graph},format=rgb24",
        "-fps_mode",
        "passthrough",
        "-f",
        "image2pipe",
        "-c:v",
        "ppm",
        "-",
    )
    pictures, place = [], 0
    while place < len(data):
        magic, size, depth, _ = data[place : place + 32].split(b"\n", 3)
        width, height = map(int, size.split())
        place += len(magic) + len(size) + len(depth) + 3
        pictures.append(np.frombuffer(data, np.uint8, height * width * 3, place).reshape(height, width, 3))
        place += height * width * 3
    return np.stack(pictures)


GREY = ("-f", "lavfi", "-i", "color=0x808080:size=64x64:duration=0.2")


def make_hdr(path, transfer, *pictures, tags=True):
    """Write HEVC of `pictures`, ffmpeg's input; `tags` says whether ffmpeg's header names the transfer.

    The codec's own header does so always. By default the pictures are grey, that of paper.
    """
    tagged = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", transfer)
    vui = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    ffmpeg(
        *(pictures or GREY),
        "-an",
        "-vf",
        "format=gbrp,setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr,"
        f"zscale=t={transfer}:p=bt2020:m=bt2020nc:npl=203,format=yuv420p10le"
        + ("" if tags else ",setparams=color_trc=unknown:color_primaries=unknown:colorspace=unknown"),
        *("-c:v", "libx265", "-x265-params", f"log-level=none:crf=8:{vui}"),
        *(tagged if tags else ()),
        path,
    )
    return path
