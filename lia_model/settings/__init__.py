"""Settings of the model, its training, evaluation, release and serving, typed and frozen.

Values are in params.yaml and in checkpoints, never here; a field's docstring gives its meaning and unit.
"""

from lia_model.settings.choices import Compilation, Mode, Precision, VideoDecoder, VideoEncoder
from lia_model.settings.evaluate import (
    CostSettings,
    EvaluateSettings,
    FaceMetricSettings,
    GoldenSettings,
    ReleaseSettings,
)
from lia_model.settings.losses import AdversarialSettings, LossSettings, PerceptualSettings, TermSettings
from lia_model.settings.network import NetworkScale, NetworkSettings
from lia_model.settings.serve import MAX_DRAIN_S, MediaLimits, ReplicaRange, RequestLimits, ServeSettings
from lia_model.settings.train import (
    AugmentationSettings,
    Balance,
    OptimizerSettings,
    SamplingSettings,
    ShardCacheSettings,
    TrainSettings,
    ValidationSettings,
)

__all__ = [
    "MAX_DRAIN_S",
    "AdversarialSettings",
    "AugmentationSettings",
    "Balance",
    "Compilation",
    "CostSettings",
    "EvaluateSettings",
    "FaceMetricSettings",
    "GoldenSettings",
    "LossSettings",
    "MediaLimits",
    "Mode",
    "NetworkScale",
    "NetworkSettings",
    "OptimizerSettings",
    "PerceptualSettings",
    "Precision",
    "ReleaseSettings",
    "ReplicaRange",
    "RequestLimits",
    "SamplingSettings",
    "ServeSettings",
    "ShardCacheSettings",
    "TermSettings",
    "TrainSettings",
    "ValidationSettings",
    "VideoDecoder",
    "VideoEncoder",
]
