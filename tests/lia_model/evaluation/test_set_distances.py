import warnings

import numpy as np
import pytest
import torch
from torch import nn

from lia_model.evaluation.set_distances import (
    TRUTH,
    FeatureNetwork,
    Moments,
    SetDistance,
    frechet_distance,
    video_starts,
)


class MeanColour(nn.Module):
    """Mean colour of images or videos; like the published networks, features only when asked for."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        features = x.flatten(2).mean(dim=2)
        return features if return_features else features.sum(dim=1)


class Pixels(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def script(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(path)
    return path


@pytest.fixture
def network(tmp_path):
    return FeatureNetwork(script(MeanColour(), tmp_path / "colour.pt"), torch.device("cpu"))


def random_clip(seed, num_frames, offset=0):
    return np.random.default_rng(seed).integers(offset, 200, (num_frames, 8, 8, 3), dtype=np.uint8)


def test_features_are_those_asked_for_and_colours_stay_in_order(network):
    images = random_clip(0, 5)
    features = network(images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(features, images.mean(axis=(1, 2)), rtol=1e-5)


def test_fid_is_the_distance_of_all_frames_however_they_arrive(network):
    fid = SetDistance("fid", network, batch_size=3)
    clips = {
        TRUTH: [random_clip(0, 7), random_clip(1, 4)],
        "model": [random_clip(2, 7, 50), random_clip(3, 4)],
    }
    for who, parts in clips.items():
        for frames in parts:
            fid.add("reconstruction", who, range(len(frames)), frames)
    (record,), skipped = fid.results()
    wanted = [
        (features.mean(axis=0), np.cov(features.T))
        for features in (np.concatenate(parts).mean(axis=(1, 2)) for parts in clips.values())
    ]
    assert record["value"] == pytest.approx(frechet_distance(*wanted), rel=1e-4)
    assert (record["num_samples"], record["num_features"], record["features_file"]) == (11, 3, "colour.pt")
    assert len(record["features_sha256"]) == 64
    assert skipped == []


def test_a_video_is_sixteen_consecutive_frames():
    assert video_starts(range(40)) == [0, 16]
    assert video_starts(range(0, 80, 2)) == []
    assert video_starts([0, *range(5, 21)]) == [1]
    assert video_starts(range(15)) == []


def test_fvd_takes_videos_and_says_when_there_are_too_few(network):
    fvd = SetDistance("fvd", network, batch_size=4)
    for who, seed in ((TRUTH, 0), ("model", 1), ("copy_source", 2)):
        numbers = range(48) if who != "copy_source" else range(0, 96, 2)
        fvd.add("reconstruction", who, numbers, random_clip(seed, 48))
    (record,), (skipped,) = fvd.results()
    assert (record["model"], record["num_samples"]) == ("model", 3)
    assert skipped.what == "fvd of copy_source, reconstruction"
    assert "got 0 samples" in skipped.reason


def test_files_that_give_no_features_are_one_line(tmp_path):
    device = torch.device("cpu")
    with pytest.raises(ValueError, match="does not exist"):
        FeatureNetwork(tmp_path / "none.pt", device)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ValueError, match="is not a TorchScript file"):
        FeatureNetwork(tmp_path / "text.pt", device)
    pixels = FeatureNetwork(script(Pixels(), tmp_path / "pixels.pt"), device)
    with pytest.raises(ValueError, match=r"pixels\.pt returns features of shape"):
        pixels(random_clip(0, 2).transpose(0, 3, 1, 2))


def test_frechet_distance_of_diagonal_gaussians_is_their_closed_form():
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    sigma_a, sigma_b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.0, 1.0])
    wanted = np.square(mean_a - mean_b).sum() + np.square(sigma_a - sigma_b).sum()
    got = frechet_distance((mean_a, np.diag(sigma_a**2)), (mean_b, np.diag(sigma_b**2)))
    assert got == pytest.approx(wanted)


def test_frechet_distance_is_symmetric_turns_with_the_features_and_agrees_with_scipy():
    from scipy.linalg import qr, sqrtm

    rng = np.random.default_rng(2)
    a, b = ((rng.normal(size=4), np.cov(rng.normal(size=(4, 9)))) for _ in range(2))
    got = frechet_distance(a, b)
    assert got == pytest.approx(frechet_distance(b, a))
    turn, _ = qr(rng.normal(size=(4, 4)))
    turned = [(turn @ mean, turn @ covariance @ turn.T) for mean, covariance in (a, b)]
    assert frechet_distance(*turned) == pytest.approx(got)
    root = sqrtm(a[1] @ b[1]).real
    assert got == pytest.approx(np.square(a[0] - b[0]).sum() + np.trace(a[1] + b[1] - 2 * root))


def test_moments_of_batches_are_those_of_the_whole():
    features = np.random.default_rng(3).normal(size=(11, 4)).astype(np.float32) + 5
    moments = Moments()
    for batch in (features[:3], features[3:4], features[4:]):
        moments.add(batch)
    mean, covariance = moments.mean_and_covariance()
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(features.T.astype(float)), rtol=1e-9)
    with pytest.raises(ValueError, match="got 0 samples; a covariance needs at least 2"):
        Moments().mean_and_covariance()
