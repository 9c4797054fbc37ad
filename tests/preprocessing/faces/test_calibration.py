import json

import numpy as np
import pytest

from preprocessing.faces.calibration import (
    SHIPPED,
    Calibration,
    Labelled,
    Rate,
    calibrate,
    find_calibration,
)


def person(identity, place, recording=None, spread=0.01, num_faces=6):
    noise = np.random.default_rng(len(identity)).normal(size=(num_faces, 2)) * spread
    return Labelled(identity, recording or f"{identity} {place}", np.array([place, 0.0]) + noise)


@pytest.fixture
def people():
    """Three people at 0.97 and more from each other, of whom Ada has two recordings at 0.3."""
    return [person("Ada", 0.0), person("Ada", 0.3), person("Bo", 1.27), person("Cy", 2.27)]


def rates(calibration, limit):
    return next(each for each in calibration.thresholds if each.max_distance == limit)


def test_rates_count_pairs_of_people_of_recordings_and_of_halves(people):
    found = calibrate("net", "key", "made-up faces", people)
    low, high = rates(found, 0.2), rates(found, 1.1)
    assert (low.false_matches, low.false_non_matches) == (
        Rate(num_errors=0, num_pairs=5),
        Rate(num_errors=1, num_pairs=1),
    )
    assert (high.false_matches.num_errors, high.false_non_matches.num_errors) == (2, 0)
    assert high.false_non_matches_within == Rate(num_errors=0, num_pairs=4)
    # The largest of the steps at which nobody is taken for another.
    assert found.max_distance == 0.95


def test_videos_of_one_recording_prove_nothing(people):
    copy = people[2]._replace(identity="Eve")
    found = calibrate("net", "key", "made-up faces", [*people, copy])
    assert found.max_distance == 0.95


def test_the_limit_of_a_rate_is_that_of_clopper_and_pearson():
    # The rule of three, and the value of 5 errors in 100 from tables.
    assert Rate(num_errors=0, num_pairs=300).upper == pytest.approx(1 - 0.05 ** (1 / 300))
    assert Rate(num_errors=5, num_pairs=100).upper == pytest.approx(0.1023, abs=1e-4)
    assert Rate(num_errors=0, num_pairs=0).upper == 1.0


def test_what_is_known_of_a_distance_is_that_of_the_steps_around_it(people):
    found = calibrate("net", "key", "made-up faces", people)
    assert "2 of 5 pairs of two people match" in found.describe(1.02)
    assert "1 of 1 pairs of recordings" in found.describe(0.28)
    assert found.describe(2.5) is None


def test_few_pairs_and_thresholds_at_which_nobody_matches_prove_nothing(people):
    few = calibrate("net", "key", "made-up faces", people)
    assert "0 of 5 measured pairs of two people match at distance 0.5, so 45.1% may" in few.doubt(0.5)
    crowd = [person(f"person {number}", float(number), spread=0.05) for number in range(12)]
    many = calibrate("net", "key", "made-up faces", crowd)
    assert many.doubt(0.5) is None
    assert "12 of 12 measured pairs of halves of a video do not match" in many.doubt(0.0)
    assert "not measured at distance 2.5" in many.doubt(2.5)


@pytest.mark.parametrize("chosen", [[0], [0, 1]])
def test_one_person_is_not_enough(people, chosen):
    with pytest.raises(ValueError, match="clips of at least two are needed"):
        calibrate("net", "key", "made-up faces", [people[number] for number in chosen])


def test_people_who_cannot_be_told_apart_are_named_as_such(people):
    twin = people[0]._replace(identity="Eve", recording="another")
    with pytest.raises(ValueError, match="correct the labels"):
        calibrate("net", "key", "made-up faces", [people[0], twin])


def test_a_calibration_is_found_for_exactly_its_networks(people, tmp_path):
    own = tmp_path / "calibration.json"
    assert find_calibration("key", own) is None
    calibration = calibrate("net", "key", "made-up faces", people)
    own.write_text(calibration.model_dump_json())
    assert find_calibration("key", own) == calibration
    assert find_calibration("another", own) is None
    own.write_text("{}")
    with pytest.raises(ValueError, match="write it again with `lia calibrate`"):
        find_calibration("key", own)


def test_shipped_calibrations_rest_on_pairs_and_take_nobody_for_another():
    files = sorted(SHIPPED.glob("*.json"))
    assert files
    for path in files:
        shipped = Calibration.model_validate(json.loads(path.read_text()))
        used = rates(shipped, shipped.max_distance)
        assert used.false_matches.num_errors == 0
        assert used.false_matches.upper < 0.01
        assert find_calibration(shipped.networks, path.with_name("none.json")) == shipped
