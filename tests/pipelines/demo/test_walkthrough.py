from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from pipelines import presets
from pipelines.demo import walkthrough
from pipelines.environment import read_environment
from pipelines.params import Params, check_params
from preprocessing.media.video_reader import decode, probe


@pytest.fixture
def params() -> Params:
    return check_params(yaml.safe_load(presets.read_preset("demo")), Path("demo.yaml"))


def test_the_driving_clip_is_the_last_quarter_at_its_own_rate(samples: Path, tmp_path: Path) -> None:
    source, driving = walkthrough.cut_demo_clip(samples / walkthrough.CLIP, tmp_path)
    assert source.is_file()
    assert probe(driving).fps == probe(samples / walkthrough.CLIP).fps == Fraction(24000, 1001)
    assert sum(1 for _ in decode(driving)) == 472 - 354


def test_the_shipped_list_names_the_port_the_samples_have(params: Params) -> None:
    port = read_environment(Path.cwd(), {}).samples_port
    walkthrough.check_samples_port(Path.cwd(), params.download.sources, port)


def test_another_samples_port_than_the_lists_is_refused(params: Params) -> None:
    with pytest.raises(
        ValueError, match=r"data/sources\.csv names .*port 9999: change the list, or set LIA_SAMPLES"
    ):
        walkthrough.check_samples_port(Path.cwd(), params.download.sources, 9999)
