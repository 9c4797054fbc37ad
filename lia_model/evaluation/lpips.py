"""LPIPS, a learned perceptual distance (Zhang et al. 2018).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from lia_model.checkpoints.directory import read_tensors
from lia_model.losses.imagenet_features import ImageNetNormalize, build_features


class Lpips(nn.Module):
    """Learned perceptual distance with AlexNet (Zhang et al. 2018, equation 1, version 0.1).

    Raises:
        ValueError: the weights file is missing or holds another network.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.features = build_features("alexnet", path)
        self.normalize = ImageNetNormalize()
        weights = read_tensors(path)
        self.heads = [f"lin{layer}" for layer in range(5)]
        for name in self.heads:
            if f"{name}.weight" not in weights:
                raise ValueError(f"{path} holds no LPIPS head {name}.weight: run `lia fetch models`")
            self.register_buffer(name, weights[f"{name}.weight"].float().view(1, -1, 1, 1))

    def forward(self, a: Float[Tensor, "B 3 S S"], b: Float[Tensor, "B 3 S S"]) -> Float[Tensor, " B"]:
        """Return the distance of each pair of RGB images in [-1, 1]."""
        total = a.new_zeros(a.shape[0])
        pairs = zip(self.features(self.normalize(a)), self.features(self.normalize(b)), strict=True)
        for name, (x, y) in zip(self.heads, pairs, strict=True):
            difference = (_unit(x) - _unit(y)).square() * getattr(self, name)
            total = total + difference.sum(dim=1).mean(dim=(1, 2))
        return total


def _unit(x: Tensor) -> Tensor:
    """Scale every pixel's feature vector to length 1; 1e-10 as in LPIPS 0.1 keeps zero vectors zero."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
