import pytest

from lia_model.training.schedule import is_checkpoint_due, is_validation_due


@pytest.mark.parametrize(("every", "validated"), [(0, []), (4, [4, 8, 10]), (3, [3, 6, 9, 10])])
def test_the_interval_and_the_last_step_are_validated_and_each_has_a_checkpoint(
    train_settings, every, validated
):
    settings = train_settings.model_copy(
        update={"num_steps": 10, "checkpoint_every_steps": 5, "validate_every_steps": every}
    )
    steps = range(1, 11)
    assert [step for step in steps if is_validation_due(step, settings)] == validated
    assert [step for step in steps if is_checkpoint_due(step, settings)] == sorted({5, 10, *validated})
