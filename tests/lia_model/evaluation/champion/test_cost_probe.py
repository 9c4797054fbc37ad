import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.evaluation.champion.cost_probe import measure_costs
from lia_model.networks.build import build_generator
from lia_model.settings import CostSettings, NetworkSettings
from preprocessing.sandbox.child_server import ChildError
from tests.lia_model.evaluation_settings import evaluation_settings

SETTINGS = CostSettings(num_frames=4, num_rounds=3, max_latency_ratio=1, max_memory_ratio=1)


@pytest.mark.slow
def test_a_wide_model_takes_more_time_and_memory_than_a_narrow_one(tmp_path, models):
    for name, size_px, width in (("narrow", 32, 0.02), ("wide", 128, 0.5)):
        network = NetworkSettings(size_px=size_px, width=width, latent_dim=16, num_directions=4)
        save_generator(tmp_path / name, build_generator(network, seed=0), {})
    folders = [tmp_path / name for name in ("narrow", "wide")]
    narrow, wide = measure_costs(folders, SETTINGS, evaluation_settings(models))
    assert 0 < 3 * narrow.latency_ms < wide.latency_ms
    # Python with torch alone takes more than the former.
    assert 100_000_000 < narrow.peak_bytes < wide.peak_bytes < 4_000_000_000


def test_a_model_that_cannot_be_loaded_ends_its_process_with_the_reason(tmp_path, models):
    with pytest.raises(ChildError, match="nowhere"):
        measure_costs([tmp_path / "nowhere"], SETTINGS, evaluation_settings(models))
