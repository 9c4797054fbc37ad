import dataclasses

import pytest

from lia_model.checkpoints.directory import CheckpointConfig
from lia_model.evaluation.card.facts import CardFacts
from lia_model.evaluation.champion.gate import Verdict
from lia_model.registry.origin import Origin
from lia_model.settings import NetworkSettings
from preprocessing.shards.manifest import SplitListing, Splits, TarEntry
from tests.lia_model.evaluation.made_up_report import make_report
from tests.lia_model.shards_on_disk import make_manifest


def listing(num_clips, **counts):
    tar = TarEntry(
        name="00000.tar", bytes=1, sha256="", frames_sha256="", recipe_sha256="", num_clips=num_clips,
        num_frames=25 * num_clips,
    )  # fmt: skip
    return SplitListing(index_sha256="", tars=[tar], **counts)


@pytest.fixture
def facts():
    splits = Splits(
        train=listing(3, num_people=2, num_videos=3, num_by_time=0),
        test=listing(1, num_people=1, num_videos=1, num_by_time=1),
    )
    network = NetworkSettings(size_px=64, width=0.5, latent_dim=16, num_directions=4)
    return CardFacts(
        name="lia",
        version="3",
        config=CheckpointConfig(format_version=1, network=network),
        crop_rule="fomm_square",
        origin=Origin(
            "models:/lia/3", None, "f" * 32, "train-1", "abc", "d41d", params={"num_steps": "2600"}
        ),
        verdict=Verdict(False, "not promoted: not better than doing nothing", ("L1 0.2 against 0.1",)),
        licences={"detector": "non-commercial research only", "data": "CC <BY> *4.0* (2 videos)"},
        manifest=make_manifest(64, splits).model_copy(update={"identity_disjoint": False}),
        report=make_report(),
    )


@pytest.fixture
def without_evidence(facts):
    return dataclasses.replace(facts, manifest=None, report=None, licences={"detector": "not recorded"})
