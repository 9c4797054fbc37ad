"""The Ray Serve application, the only room here that imports Ray: one replica answers HTTP, others animate.

The first listens itself: Ray's proxy would answer `/-/routes` to anybody, keep its address after the
application has ended, and hold in memory whatever a client sends, refused or not. The replicas share only the
job store, the media folder and a heartbeat, so each can crash and restart without affecting the others. An
application on a running cluster keeps running when the process that deployed it ends.
"""

from lia_model.serving.app.animation_replica import AnimationReplica
from lia_model.serving.app.application import (
    WithdrawError,
    deploy,
    fitting_application,
    is_deployed,
    withdraw,
)
from lia_model.serving.app.config import ServingConfig, open_jobs

__all__ = [
    "AnimationReplica",
    "ServingConfig",
    "WithdrawError",
    "deploy",
    "fitting_application",
    "is_deployed",
    "open_jobs",
    "withdraw",
]
