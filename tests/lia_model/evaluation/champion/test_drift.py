import numpy as np
import pytest
from scipy.stats import ks_2samp

from lia_model.evaluation.champion.drift import MIN_NUM_CLIPS, kolmogorov_smirnov, shift


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=30).tolist(), rng.normal(0.5, 2, size=20).tolist()
    assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(one, other).statistic)


def test_equal_values_are_alike_and_others_apart():
    assert kolmogorov_smirnov([1.0, 2.0, 2.0], [1.0, 2.0, 2.0]) == 0
    assert kolmogorov_smirnov([1.0, 2.0], [3.0]) == 1


def test_few_clips_give_medians_but_no_distance():
    enough = [float(value) for value in range(MIN_NUM_CLIPS)]
    few = shift("yaw_deg", enough, enough[1:])
    assert (few.distance, few.median, few.new_median) == (None, 3.5, 4.0)
    assert shift("yaw_deg", enough, enough).distance == 0
    none = shift("yaw_deg", enough, [])
    assert (none.distance, none.new_median, none.num_new) == (None, None, 0)
