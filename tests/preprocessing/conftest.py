"""Settings as shipped, and small videos made on the spot."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from preprocessing.download.attempt import AttemptResult
from preprocessing.download.retries import download_source
from preprocessing.settings import DownloadSettings, ShardsSettings
from preprocessing.sources.source import Source, source_key

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shards_settings() -> ShardsSettings:
    return ShardsSettings(**yaml.safe_load((CHECKOUT / "params.yaml").read_text())["shards"])


@pytest.fixture(scope="session")
def download_settings() -> DownloadSettings:
    shipped = yaml.safe_load((CHECKOUT / "params.yaml").read_text())["download"]
    return DownloadSettings(**shipped | {"num_retries": 0, "timeout_s": 60})


def download_alone(source: Source, settings: DownloadSettings, raw: Path) -> AttemptResult:
    """Download a source whose host sets no limits."""
    return download_source(source, settings, raw, lambda: True, settings.num_retries + 1)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """Function that writes a grey video: frame n is as bright as `levels[n]`, shown from `times_s[n]` on."""

    def make(
        path: Path,
        levels: Sequence[int],
        times_s: Sequence[float] | None = None,
        fps: int = 25,
        size: tuple[int, int] = (64, 48),
        rotation: int = 0,
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "1", "bf": "0"})
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.time_base = Fraction(1, 1000)
            if rotation:
                stream.set_display_rotation(rotation)
            for number, level in enumerate(levels):
                image = np.full((size[1], size[0], 3), level, np.uint8)
                image[: size[1] // 4, : size[0] // 4] = 255
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.time_base = Fraction(1, 1000)
                frame.pts = round(1000 * (times_s[number] if times_s else number / fps))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def make_sound() -> Callable[[Path], Path]:
    """Function that writes a file with sound and no picture; its name's ending says how."""

    def make(path: Path, seconds: float = 1.0) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            samples = np.sin(np.arange(int(16000 * seconds)) / 10).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def make_source() -> Callable[..., Source]:
    def make(url: str = "http://127.0.0.1:1/v.mp4", **changes: object) -> Source:
        return Source(**{"url": url, "key": source_key(url)} | changes)

    return make
