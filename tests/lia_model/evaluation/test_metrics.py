import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from lia_model.evaluation import metrics


def test_equal_images_are_at_no_distance():
    image = torch.rand(2, 3, 32, 32)
    assert metrics.l1(image, image).tolist() == [0, 0]
    torch.testing.assert_close(metrics.ssim(image, image), torch.ones(2))
    assert metrics.psnr(image, image).tolist() == [100, 100]


def test_psnr_of_a_tenth_everywhere_is_twenty_decibels():
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(metrics.psnr(image + 0.1, image), torch.tensor([20.0]))


def test_ssim_is_that_of_the_papers_window():
    a, b = np.random.default_rng(0).random((2, 48, 40, 3))
    wanted, full = structural_similarity(
        a,
        b,
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    del wanted
    to_tensor = lambda image: torch.from_numpy(image).permute(2, 0, 1)[None]  # noqa: E731
    got = metrics.ssim(to_tensor(a), to_tensor(b))
    # skimage's mean leaves out five pixels at each edge, exactly where our window would reach outside.
    assert abs(float(got) - full[5:-5, 5:-5].mean()) < 1e-6


@pytest.fixture
def face():
    return np.random.default_rng(1).normal(size=(68, 2)) * 20 + 100


def test_landmark_distance_of_a_shifted_face_is_the_shift(face):
    assert metrics.landmark_distance(face, face) == 0
    assert metrics.landmark_distance(face + np.array([3, 4]), face) == pytest.approx(5)


def test_identities_are_compared_by_distance_and_by_angle():
    a, b = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    assert metrics.identity_distance(a, b) == 5
    assert metrics.identity_similarity(a, b) == 0
    assert metrics.identity_similarity(a, 7 * a) == pytest.approx(1)
    assert metrics.identity_similarity(a, -a) == pytest.approx(-1)


def test_a_faces_shape_ignores_place_size_and_turn(face):
    angle = 0.4
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(
        metrics.face_shape(3 * face @ turn + (5, -9)), metrics.face_shape(face), atol=1e-12
    )
    corners = metrics.face_shape(face)[list(metrics.OUTER_EYE_CORNERS)]
    np.testing.assert_allclose(corners[1] - corners[0], [1, 0], atol=1e-12)


def test_motion_distance_is_zero_for_the_same_motion_and_the_whole_motion_for_none(face):
    # The same change of shape on a face of another size elsewhere in the picture.
    moved = face.copy()
    moved[48:68, 1] += 6
    assert metrics.motion_distance((2 * face + 50, 2 * moved + 50), (face, moved)) == pytest.approx(0)
    still = metrics.motion_distance((face, face), (face, moved))
    half = face + (moved - face) / 2
    assert 0 < metrics.motion_distance((face, half), (face, moved)) < still


def test_frechet_distance_of_diagonal_gaussians_is_their_closed_form():
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    sigma_a, sigma_b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.0, 1.0])
    wanted = np.square(mean_a - mean_b).sum() + np.square(sigma_a - sigma_b).sum()
    got = metrics.frechet_distance((mean_a, np.diag(sigma_a**2)), (mean_b, np.diag(sigma_b**2)))
    assert got == pytest.approx(wanted)


def test_frechet_distance_is_symmetric_turns_with_the_features_and_agrees_with_scipy():
    from scipy.linalg import qr, sqrtm

    rng = np.random.default_rng(2)
    a, b = ((rng.normal(size=4), np.cov(rng.normal(size=(4, 9)))) for _ in range(2))
    got = metrics.frechet_distance(a, b)
    assert got == pytest.approx(metrics.frechet_distance(b, a))
    turn, _ = qr(rng.normal(size=(4, 4)))
    turned = [(turn @ mean, turn @ covariance @ turn.T) for mean, covariance in (a, b)]
    assert metrics.frechet_distance(*turned) == pytest.approx(got)
    root = sqrtm(a[1] @ b[1]).real
    assert got == pytest.approx(np.square(a[0] - b[0]).sum() + np.trace(a[1] + b[1] - 2 * root))


def test_moments_of_batches_are_those_of_the_whole():
    features = np.random.default_rng(3).normal(size=(11, 4)).astype(np.float32) + 5
    moments = metrics.Moments()
    for batch in (features[:3], features[3:4], features[4:]):
        moments.add(batch)
    mean, covariance = moments.mean_and_covariance()
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(features.T.astype(float)), rtol=1e-9)
    with pytest.raises(ValueError, match="got 0 samples; a covariance needs at least 2"):
        metrics.Moments().mean_and_covariance()


def test_the_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(4)
    inside = 0
    for trial in range(200):
        low, high = metrics.bootstrap_interval(rng.normal(size=60), 400, seed=trial)
        inside += low <= 0 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_bootstrap_interval_is_repeatable_and_needs_two_values():
    values = np.array([1.0, 2.0, 4.0])
    assert metrics.bootstrap_interval(values, 100, 0) == metrics.bootstrap_interval(values, 100, 0)
    assert metrics.bootstrap_interval(np.full(5, 3.0), 100, 0) == (3, 3)
    assert metrics.bootstrap_interval(values[:1], 100, 0) is None
