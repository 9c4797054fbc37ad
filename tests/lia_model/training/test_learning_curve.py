"""The first steps of the training on puppets, against the band that its drill recorded."""

from tests.drills import puppet_training as puppets

NUM_STEPS = 30


def test_the_first_thirty_steps_fall_as_recorded(tmp_path):
    _, curve = puppets.train(puppets.write_puppets(tmp_path / "shards"), NUM_STEPS)
    expected = {step: band for step, band in puppets.read_expected_curve().items() if step <= NUM_STEPS}
    assert set(expected) == {10, 20, 30}
    for step, (lowest, highest) in expected.items():
        assert lowest <= curve[step] <= highest, f"step {step}"
