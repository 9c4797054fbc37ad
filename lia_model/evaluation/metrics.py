"""Distances between generated and true frames, as the field reports them (lia.md section 8).

Images are RGB floats in [0, 1]; faces are 68 landmarks as x, y in pixels and identity embeddings. Means over
clips come with a bootstrap interval.
Axes: B frames, H W pixels, N samples, D feature or embedding width.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
OUTER_EYE_CORNERS = (36, 45)
"""Their places among the 68 landmarks."""


def l1(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the mean absolute difference of each pair."""
    return (a - b).abs().mean(dim=(1, 2, 3))


def psnr(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the peak signal-to-noise ratio of each pair in dB; equal images are given 100."""
    error = (a - b).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return -10 * error.log10()


def ssim(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Return the structural similarity of each pair (Wang et al. 2004, section III).

    Gaussian window of 11 px and σ 1.5 as in the paper, over positions where it lies wholly inside, mean of
    the three colour channels.
    """
    window = _gaussian_window(a)
    mean_a, mean_b = _filter(a, window), _filter(b, window)
    var_a = _filter(a * a, window) - mean_a.square()
    var_b = _filter(b * b, window) - mean_b.square()
    covariance = _filter(a * b, window) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a.square() + mean_b.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _gaussian_window(like: Tensor) -> Float[Tensor, "3 1 k k"]:
    axis = torch.arange(SSIM_WINDOW_PX, dtype=like.dtype, device=like.device) - SSIM_WINDOW_PX // 2
    taps = torch.exp(-axis.square() / (2 * SSIM_SIGMA_PX**2))
    taps = taps / taps.sum()
    return torch.outer(taps, taps).expand(3, 1, -1, -1)


def _filter(x: Tensor, window: Tensor) -> Tensor:
    return functional.conv2d(x, window, groups=3)


def landmark_distance(a: Float[np.ndarray, "68 2"], b: Float[np.ndarray, "68 2"]) -> float:
    """Return the mean distance of corresponding landmarks in pixels; its mean over frames is AKD."""
    return float(np.linalg.norm(a - b, axis=1).mean())


def identity_distance(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Return the Euclidean distance of two identity embeddings; its mean over frames is AED."""
    return float(np.linalg.norm(a - b))


def identity_similarity(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Return the cosine of two identity embeddings; its mean over frames is CSIM."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def face_shape(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
    """Return the landmarks without their place, size and turn in the picture.

    Their mean is moved to 0, the line between the outer corners of the eyes becomes horizontal, of length 1.
    """
    left, right = landmarks[list(OUTER_EYE_CORNERS)]
    # As complex numbers, dividing by the line between the eyes turns and scales at once.
    line = complex(*(right - left))
    points = (landmarks - landmarks.mean(axis=0)) @ np.array([1, 1j]) / line
    return np.stack([points.real, points.imag], axis=1)


def motion_distance(
    result: tuple[Float[np.ndarray, "68 2"], Float[np.ndarray, "68 2"]],
    driving: tuple[Float[np.ndarray, "68 2"], Float[np.ndarray, "68 2"]],
) -> float:
    """Return how differently two faces changed their shape: expression and turn out of the picture's plane.

    Each is (first frame, this frame). Changes are compared, not shapes, since the two are different people.
    The unit is the distance of the outer corners of the eyes; a face that never moves scores as much as the
    other one moves.
    """
    changes = [face_shape(now) - face_shape(first) for first, now in (result, driving)]
    return float(np.linalg.norm(changes[0] - changes[1], axis=1).mean())


class Moments:
    """Mean and covariance of features that arrive in batches, in float64."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._sum: np.ndarray | None = None
        self._products: np.ndarray | None = None

    def add(self, features: Float[np.ndarray, "N D"]) -> None:
        """Count the rows in."""
        features = features.astype(np.float64)
        self.num_samples += len(features)
        added = (features.sum(axis=0), features.T @ features)
        if self._sum is None or self._products is None:
            self._sum, self._products = added
        else:
            self._sum, self._products = self._sum + added[0], self._products + added[1]

    def mean_and_covariance(self) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]]:
        """Return the mean and the unbiased covariance.

        Raises:
            ValueError: fewer than two samples were counted in.
        """
        if self._sum is None or self._products is None or self.num_samples < 2:
            raise ValueError(
                f"got {self.num_samples} samples; a covariance needs at least 2; compare more frames or clips"
            )
        mean = self._sum / self.num_samples
        covariance = (self._products - self.num_samples * np.outer(mean, mean)) / (self.num_samples - 1)
        return mean, covariance


def frechet_distance(
    a: tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]],
    b: tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]],
) -> float:
    """Return the squared Fréchet distance of two normal distributions, each (mean, covariance).

    |m - m'|² + tr(S + S' - 2 (S S')^½), Dowson and Landau 1982; FID and FVD are this number over features of
    Inception and of I3D. The trace of the root is taken from the symmetric S^½ S' S^½, which has the
    eigenvalues of S S'.
    """
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    # Rounding leaves eigenvalues of a semi-definite matrix slightly below 0.
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_of_root
    return float(max(distance, 0.0))


def bootstrap_interval(
    values: Float[np.ndarray, " N"], num_resamples: int, seed: int, coverage: float = 0.95
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean (Efron 1979), or None for fewer than two values.

    The values must be independent; clips of one person are not quite, so that the true interval is wider.
    """
    if len(values) < 2:
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(num_resamples, len(values)))
    tail = (1 - coverage) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
