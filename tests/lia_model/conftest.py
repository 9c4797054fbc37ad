import pytest

from lia_model.device.precision import float32_products
from lia_model.networks.build import build_generator
from lia_model.networks.generator import Generator
from lia_model.settings import NetworkSettings, TrainSettings


@pytest.fixture(autouse=True)
def _exact_products():
    """Without TF32, as promised values and equal results of two implementations need on a GPU."""
    with float32_products("fp32"):
        yield


@pytest.fixture
def network() -> NetworkSettings:
    return NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)


@pytest.fixture
def generator(network) -> Generator:
    return build_generator(network, seed=1).eval()


@pytest.fixture(scope="session")
def train_settings() -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "seed": 0,
            "num_workers": 1,
            "num_threads": 1,
            "use_gpu": False,
            "num_steps": 6,
            "global_batch_size": 4,
            "micro_batch_size": 4,
            "pairs_per_visit": 1,
            "sampling": {"balance": "clip", "gap": "uniform"},
            "shard_cache": {"folder": "~/.cache/lia/shards", "max_bytes": 1_000_000_000},
            "init_from": None,
            "precision": "fp32",
            "deterministic": False,
            "compile": False,
            "network": {"width": 0.02, "latent_dim": 16, "num_directions": 4},
            "augmentation": {
                "flip": False,
                "brightness": 0.0,
                "contrast": 0.0,
                "saturation": 0.0,
                "hue": 0.0,
            },
            "initial_flow": {"scale": 1.0, "mask_bias": 0.0},
            "losses": {
                "l1_weight": 1.0,
                "perceptual": {
                    "backbone": "vgg16",
                    "weights": "none",
                    "precision": "fp32",
                    "weight": 0.0,
                    "every_steps": 1,
                },
                "adversarial": {
                    "weight": 0.1,
                    "start_step": 0,
                    "every_steps": 1,
                    "r1": {"weight": 0.0, "every_turns": 1},
                },
            },
            "optimizer": {
                "generator_lr": 0.002,
                "discriminator_lr": 0.002,
                "warmup_steps": 0,
                "decay_steps": 0,
                "max_gradient_norm": None,
            },
            "ema_decay": 0.9,
            "log_every_steps": 2,
            "strip_every_steps": 3,
            "checkpoint_every_steps": 3,
            "num_kept_checkpoints": 2,
            "milestone_every_steps": 0,
            "validate_every_steps": 0,
            "validation": {
                "metric": "l1",
                "max_num_clips": 4,
                "max_num_frames_per_clip": 2,
                "lpips": "none",
            },
        }
    )
