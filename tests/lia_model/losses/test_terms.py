import json
import logging
import sys

import numpy as np
import pytest
import torch

from lia_model import losses
from lia_model.losses import terms
from lia_model.losses.terms import GeneratorOutputs, LossTerm, build_objective, check_terms, known_keys
from lia_model.settings import LossSettings, TermSettings, TrainSettings
from lia_model.training.folder_run import train_directory
from tests.lia_model.shards_on_disk import write_shards

CPU = torch.device("cpu")
NEW_TERM = """
import torch
from torch import Tensor

from lia_model.losses.terms import GeneratorOutputs, LossTerm, Objective, loss_term
from lia_model.settings import TermSettings


class GreySettings(TermSettings):
    target: float


@loss_term("grey", GreySettings)
def build_grey(settings: GreySettings, device: torch.device) -> Objective:
    def compute(outputs: GeneratorOutputs) -> Tensor:
        return (outputs.fake - settings.target).square().mean()

    return Objective(generator=(LossTerm.weighted("grey", compute, settings),))
"""


@pytest.fixture
def new_term(tmp_path, monkeypatch):
    """One new file in the package of losses, for the length of a test."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/grey.py").write_text(NEW_TERM)
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path / "package")])
    yield
    for registry in (terms._builders, terms._settings):
        registry.pop("grey", None)
    sys.modules.pop("lia_model.losses.grey", None)


def with_terms(settings: TrainSettings, **added) -> LossSettings:
    return LossSettings.model_validate(settings.losses.model_dump() | added)


def names(objective):
    return [[term.name for term in each] for each in (objective.generator, objective.discriminator)]


def test_the_published_terms_are_summed_in_the_order_of_their_keys(train_settings, models):
    content = train_settings.losses.model_dump()
    content["perceptual"] |= {"weights": models / "vgg16.safetensors", "weight": 1.0}
    content["adversarial"]["r1"]["weight"] = 10.0
    objective = build_objective(LossSettings.model_validate(content), CPU)
    assert names(objective) == [["l1", "perceptual_vgg16", "generator_adversarial"], ["discriminator", "r1"]]


def test_a_term_of_weight_zero_is_left_out(train_settings):
    assert names(build_objective(train_settings.losses, CPU)) == [
        ["l1", "generator_adversarial"],
        ["discriminator"],
    ]
    content = train_settings.losses.model_dump()
    content["adversarial"] |= {"weight": 0.0, "r1": {"weight": 10.0, "every_turns": 1}}
    assert names(build_objective(LossSettings.model_validate(content), CPU)) == [["l1"], []]


@pytest.mark.parametrize("every_steps", [1, 3])
def test_a_lazy_term_weighs_as_much_over_its_interval_as_one_of_every_step(every_steps):
    term = LossTerm.weighted("x", lambda _: torch.ones(()), TermSettings(weight=0.5, every_steps=every_steps))
    total = sum(term.factor for step in range(12) if term.is_due(step))
    assert total == pytest.approx(12 * 0.5)


def test_a_term_starts_at_its_step_and_keeps_its_interval():
    term = LossTerm("x", lambda _: torch.ones(()), 1.0, every_steps=3, start_step=2)
    assert [step for step in range(10) if term.is_due(step)] == [3, 6, 9]


def test_one_new_file_is_a_new_term_that_training_takes_up(new_term, train_settings, tmp_path, caplog):
    # Without any other loss but one of weight 0, the images can only become what the new term wants.
    clips = [np.full((4, 32, 32, 3), value, np.uint8) for value in (40, 220)]
    write_shards(tmp_path / "shards", {"train": clips}, 32)
    settings = train_settings.model_dump(mode="json") | {"num_steps": 40, "log_every_steps": 1}
    settings["losses"] |= {"l1_weight": 0.0, "grey": {"weight": 2.0, "every_steps": 2, "target": 0.25}}
    settings["losses"]["adversarial"]["weight"] = 0.0
    (tmp_path / "train.json").write_text(json.dumps(settings))
    with caplog.at_level(logging.INFO, logger="lia_model.training.folder_run"):
        train_directory(tmp_path)
    logged = [record.args[1]["loss/grey"] for record in caplog.records if "loss/grey" in str(record.args)]
    assert len(logged) == 20
    assert logged[-1] < 0.5 * logged[0]


def test_settings_of_an_added_term_are_checked_by_its_own_type(new_term, train_settings):
    settings = check_terms(with_terms(train_settings, grey={"weight": 1, "every_steps": 1, "target": 0}))
    assert settings.model_extra["grey"].target == 0
    assert check_terms(settings) == settings
    assert settings.model_dump()["grey"] == {"weight": 1, "every_steps": 1, "target": 0}
    with pytest.raises(ValueError, match=r"train\.losses\.grey\.target is .*: Field required; correct it"):
        check_terms(with_terms(train_settings, grey={"weight": 1, "every_steps": 1}))
    with pytest.raises(ValueError, match=r"train\.losses\.grey is 3: .*; correct it"):
        check_terms(with_terms(train_settings, grey=3))


def test_a_key_that_names_no_term_is_refused_with_the_known_ones(train_settings):
    assert known_keys() == ["adversarial", "l1_weight", "perceptual"]
    with pytest.raises(
        ValueError,
        match=r"train\.losses\.grey names no loss term; known are adversarial, l1_weight, perceptual:",
    ):
        build_objective(with_terms(train_settings, grey={"weight": 1, "every_steps": 1}), CPU)


def test_a_term_sees_source_target_and_result():
    images = torch.rand(3, 2, 3, 8, 8)
    outputs = GeneratorOutputs(*images, torch.nn.Identity(), torch.autocast("cpu", enabled=False))
    term = LossTerm("x", lambda each: (each.fake - each.source).abs().mean() + each.driving.mean(), 1.0)
    torch.testing.assert_close(term.compute(outputs), (images[2] - images[0]).abs().mean() + images[1].mean())
