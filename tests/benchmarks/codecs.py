"""Codecs of stored frames: size, fidelity and the cost of random frames, on videos of faces.

`python -m tests.benchmarks.codecs FOLDER` takes frames of the folder's videos, their middle squares at
256 px. PSNR is that of RGB, over all pixels. A frame of H.264 is a key frame of its own at 4:4:4; its decoder
gets one packet, as when a single frame is read from a shard.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lia_model.data.pixels import decode_frame
from preprocessing.media.boxes import middle_square
from preprocessing.media.images import cut
from preprocessing.media.video_reader import decode

SIZE_PX = 256
EVERY, MOST = 25, 12
"""Frames a clip: one of so many, and at most so many."""
NUM_ROUNDS = 5
Pixels = NDArray[np.uint8]


class Codec(NamedTuple):
    """A way to store one frame."""

    name: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes], Pixels]


def still(name: str, kind: str, **options: object) -> Codec:
    """Return a codec of Pillow's."""

    def encode(image: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, kind, **options)
        return buffer.getvalue()

    return Codec(name, encode, decode_frame)


def h264_intra(crf: int) -> Codec:
    """Return H.264 of key frames alone; the headers, which a clip would store once, are not counted."""
    headers: list[bytes] = []

    def encode(image: Pixels) -> bytes:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width = context.height = SIZE_PX
        context.pix_fmt, context.time_base = "yuv444p", Fraction(1, 25)
        context.options = {"crf": str(crf), "g": "1", "preset": "medium", "tune": "zerolatency"}
        context.flags |= 1 << 22  # The headers go into extradata.
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv444p", dst_colorspace="itu601"
        )
        packets = [*context.encode(frame), *context.encode(None)]
        headers[:] = [bytes(context.extradata or b"")]
        return b"".join(map(bytes, packets))

    decoders: list[av.VideoCodecContext] = []

    def decode_one(data: bytes) -> Pixels:
        if not decoders:
            context = av.CodecContext.create("h264", "r")
            assert isinstance(context, av.VideoCodecContext)
            context.extradata, context.thread_count = headers[0], 1
            decoders.append(context)
        (context,) = decoders
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
        context.flush_buffers()
        return np.asarray(frames[0].to_ndarray(format="rgb24"), dtype=np.uint8)

    return Codec(f"h264-intra crf {crf}", encode, decode_one)


CODECS = (
    still("jpeg 95", "JPEG", quality=95, subsampling=0),
    still("jpeg 90", "JPEG", quality=90, subsampling=0),
    still("webp 80", "WEBP", quality=80, method=4),
    still("webp 90", "WEBP", quality=90, method=4),
    still("webp 95", "WEBP", quality=95, method=4),
    still("webp lossless", "WEBP", lossless=True, quality=50, method=2),
    h264_intra(12),
    h264_intra(18),
    h264_intra(23),
)


def read_frames(folder: Path) -> Iterator[Pixels]:
    """Yield some frames of each video of a folder, its middle square at 256 px."""
    for path in sorted(folder.glob("*.mp4")):
        num_taken = 0
        for number, frame in enumerate(decode(path, 25, problems=[])):
            if number % EVERY == 0:
                height, width = frame.image.shape[:2]
                yield cut(frame.image, middle_square((width, height)), SIZE_PX)
                num_taken += 1
            if num_taken == MOST:
                break


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two images."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def main() -> None:
    """Print one line a codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    images = list(read_frames(parser.parse_args().folder))
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    print(f"{len(images)} frames of {SIZE_PX} px")
    print(f"{'codec':20}{'kB':>8}{'PSNR dB':>10}{'encode ms':>11}{'decode ms':>11}")
    for codec in CODECS:
        started_s = time.perf_counter()
        files = [codec.encode(image) for image in images]
        encode_s = (time.perf_counter() - started_s) / len(images)
        fidelity = np.mean(
            [psnr_db(image, codec.decode(data)) for image, data in zip(images, files, strict=True)]
        )
        rounds = []
        for _ in range(NUM_ROUNDS):
            started_s = time.perf_counter()
            for number in order:
                codec.decode(files[number])
            rounds.append((time.perf_counter() - started_s) / len(images))
        size = np.mean([len(data) for data in files]) / 1000
        decode_ms = 1000 * np.median(rounds)
        print(
            f"{codec.name:20}{size:8.1f}{fidelity:10.2f}{1000 * encode_s:11.2f}{decode_ms:11.2f}", flush=True
        )


if __name__ == "__main__":
    main()
