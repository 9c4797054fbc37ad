import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
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


def test_lpips_grows_with_noise(models):
    lpips = metrics.Lpips(models / "lpips_alex.safetensors")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(image)
    distances = [float(lpips(image, image + level * noise)) for level in (0.0, 0.05, 0.3)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


def test_a_file_without_the_heads_is_refused(models, tmp_path):
    weights = load_file(models / "lpips_alex.safetensors")
    del weights["lin3.weight"]
    save_file(weights, tmp_path / "alexnet.safetensors")
    with pytest.raises(ValueError, match=r"holds no LPIPS head lin3\.weight: run `lia fetch models`"):
        metrics.Lpips(tmp_path / "alexnet.safetensors")
