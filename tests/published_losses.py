"""The published loss (Wang et al. 2022, section 3.4), with VGG16 in place of VGG19."""

from pathlib import Path

from lia_model.settings import LossSettings


def published_losses(vgg16: Path | None, precision: str = "fp32") -> LossSettings:
    """Return the settings; without a file of VGG16's weights they have no perceptual term.

    `precision` is that of the frozen network.
    """
    perceptual = {"backbone": "vgg16", "weights": vgg16 or "none", "weight": 10.0 if vgg16 else 0.0}
    return LossSettings.model_validate(
        {
            "l1_weight": 1.0,
            "perceptual": perceptual | {"precision": precision, "every_steps": 1},
            "adversarial": {
                "weight": 1.0,
                "start_step": 0,
                "every_steps": 1,
                "r1": {"weight": 0.0, "every_turns": 16},
            },
        }
    )
