"""A video of two hours becomes clips in bounded memory: frames stream, and only what was seen is kept."""

import hashlib
import json
import logging
import subprocess
import sys
from pathlib import Path

import av
import pytest
import yaml

from preprocessing.clips.source_run import SourceTask
from preprocessing.ledger import ClipRow
from preprocessing.media.video_reader import probe
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source, source_key

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.drill

SAMPLE = "WolfgangLanger_Pexels.mp4"
LASTS_S = 7200
MOST_BYTES = 1_500_000_000
# Looking for faces takes most of the time, and one look leaves about 2 kB in memory.
EVERY_NUM_FRAMES = 25
PROGRAM = """
import json, sys
from dataclasses import asdict
from preprocessing.clips.source_run import SourceTask, process_source
from tests.peak_memory import peak_bytes
for row in process_source(SourceTask.model_validate_json(sys.stdin.read())).rows:
    print(json.dumps(asdict(row)))
print(peak_bytes())
"""


def repeat(video: Path, path: Path, lasts_s: float) -> Path:
    """Write a video's pictures over and over, without encoding them again."""
    end = 0
    with av.open(str(path), "w") as output:
        stream = None
        while stream is None or end * stream.time_base < lasts_s:
            with av.open(str(video)) as source:
                shown = source.streams.video[0]
                stream = stream or output.add_stream_from_template(shown)
                for packet in source.demux(shown):
                    if packet.dts is None:
                        continue
                    packet.stream, packet.pts, packet.dts = stream, packet.pts + end, packet.dts + end
                    output.mux(packet)
                end += shown.duration
    return path


def test_two_hours_need_no_more_memory_than_a_worker_may_have(samples, models, tmp_path):
    video = repeat(samples / SAMPLE, tmp_path / "long.mp4", LASTS_S)
    num_frames = round(probe(video).duration_s * 25)
    assert num_frames >= LASTS_S * 25
    shipped = yaml.safe_load((models.parent / "params.yaml").read_text())["shards"]
    shipped["detect"]["every_num_frames"] = EVERY_NUM_FRAMES
    url = "http://127.0.0.1/long.mp4"
    task = SourceTask(
        source=Source(url=url, key=source_key(url)),
        video=video,
        video_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
        root=models.parent,
        settings=ShardsSettings(**shipped),
        tracks=tmp_path / "tracks",
        clips=tmp_path / "clips",
    )
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, input=task.model_dump_json(), check=True, stdout=subprocess.PIPE, text=True
    )
    *told, peak = done.stdout.splitlines()
    rows, peak_bytes = [ClipRow(**json.loads(line)) for line in told], int(peak)
    num_kept = sum(row.num_frames or 0 for row in rows if row.outcome == "kept")
    logger.info(
        "%d of %d frames kept in %d clips; peak %.2f GB; sightings %.1f MB",
        num_kept,
        num_frames,
        len(rows),
        peak_bytes / 1e9,
        sum(path.stat().st_size for path in task.tracks.iterdir()) / 1e6,
    )
    assert num_kept > 0.9 * num_frames
    assert peak_bytes < MOST_BYTES
