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
