"""The published loss (lia.md section 6), with VGG16, which is at hand, in place of VGG19."""

from lia_model.settings import LossSettings

LOSSES = LossSettings.model_validate(
    {
        "l1_weight": 1.0,
        "perceptual": {"backbone": "vgg16", "weights": "none", "weight": 10.0, "every_steps": 1},
        "adversarial": {
            "weight": 1.0,
            "start_step": 0,
            "every_steps": 1,
            "r1": {"weight": 0.0, "every_turns": 16},
        },
    }
)
