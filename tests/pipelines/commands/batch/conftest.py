from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from pipelines import presets
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter
from tests.pipelines.commands.batch.batch_project import NUM_FRAMES, TINY, BatchProject, serving


@pytest.fixture(scope="module")
def project(tmp_path_factory, samples, models):
    root = tmp_path_factory.mktemp("root")
    presets.write_preset("demo", root / "params.yaml")
    (root / "models").symlink_to(models)
    save_generator(root / "tiny", build_generator(TINY, seed=0))
    with VideoWriter(root / "face.mp4", Fraction(24), (640, 360)) as writer:
        for frame in islice(decode(samples / "WolfgangLanger_Pexels.mp4"), NUM_FRAMES):
            writer.write(frame.image)
            Image.fromarray(np.ascontiguousarray(frame.image)).save(root / "face.png")
    Image.fromarray(np.full((64, 64, 3), 90, dtype=np.uint8)).save(root / "wall.png")
    return BatchProject(root)


@pytest.fixture(scope="module")
def root(project):
    return project.root


@pytest.fixture(scope="module")
def endpoint(root, models):
    """The real API and job runner, with a queue of two and a token."""
    with serving(root, models, max_num_items=2) as url:
        yield url
