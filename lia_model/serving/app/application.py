"""Builds the Ray Serve application, and starts and removes it."""

import time
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import Any

from ray import cluster_resources, serve
from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.exceptions import RayServeException

from lia_model.serving.app import autoscaling
from lia_model.serving.app.animation_replica import AnimationReplica
from lia_model.serving.app.api_replica import AnimationApi
from lia_model.serving.app.config import ServingConfig
from lia_model.settings import MAX_DRAIN_S, ReplicaRange

APPLICATION = "lia"
ANIMATION_CPUS, API_CPUS = 0.5, 0.1
"""Logical CPUs of a replica."""
HEAD = {"node:__internal_head__": 0.001}
"""Resource that exists on the head's machine alone."""
LOOK_BACK_S = 15.0
"""Over how long the reported numbers of jobs are averaged; Ray reports them every 10 s."""
END_S = 30.0
"""How long a replica may take to end once its job has; then Serve kills it."""
WITHDRAW_TIMEOUT_S = MAX_DRAIN_S + 2 * END_S
"""How long the application may take to end."""


class WithdrawError(Exception):
    """The application could not be removed."""


def build_application(config: ServingConfig, num_gpus: float, host: str, port: int) -> serve.Application:
    """Return the application, which listens at `host`:`port`; each replica animates with `num_gpus` GPUs."""
    options: dict[str, Any] = {"num_cpus": ANIMATION_CPUS, "num_gpus": num_gpus}
    if not config.shared_storage:
        # The uploads, and the folders of batches, are on the head's disk.
        options["resources"] = HEAD
    # Not as decorators: they replace the class, and Ray would then pickle its code instead of its name.
    animation = serve.deployment(
        graceful_shutdown_timeout_s=config.drain_s + END_S,
        health_check_timeout_s=60,
        ray_actor_options=options,
        **_number(config.replicas),
    )(AnimationReplica)
    # The address is one of the head's.
    api = serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": API_CPUS, "resources": HEAD})(
        AnimationApi
    )
    return api.bind(config, animation.bind(config), host, port)


def fitting_application(config: ServingConfig, host: str, port: int) -> serve.Application:
    """Return the application for the cluster of this process, with a GPU a replica if it has any.

    Raises:
        ValueError: the cluster is too small for the least number of replicas.
    """
    there = cluster_resources()
    num_gpus = min(1.0, there.get("GPU", 0.0))
    _require_room(config.replicas, there.get("CPU", 0.0), there.get("GPU", 0.0))
    return build_application(config, num_gpus, host, port)


def deploy(config: ServingConfig, host: str, port: int) -> None:
    """Start Serve on the cluster this process is connected to and wait until the application answers.

    An application that already runs is replaced; its jobs are resumed.

    Raises:
        ValueError: the cluster is too small for the least number of replicas.
    """
    application = fitting_application(config, host, port)
    serve.start(proxy_location="Disabled")
    serve.run(application, name=APPLICATION, route_prefix=None)


def withdraw() -> None:
    """Remove the application from the cluster once its replicas have ended; queued jobs are kept.

    Each replica finishes its job within `ServingConfig.drain_s`, or queues it again.

    Raises:
        WithdrawError: Ray does not answer, or has not removed it within `WITHDRAW_TIMEOUT_S`.
    """
    try:
        if APPLICATION not in serve.status().applications:
            return
        # Serve's own wait ends after 60 s, sooner than a replica may take.
        serve.delete(APPLICATION, _blocking=False)
        deadline_s = time.monotonic() + WITHDRAW_TIMEOUT_S
        while APPLICATION in serve.status().applications:
            if time.monotonic() > deadline_s:
                raise WithdrawError(f"it still runs after {WITHDRAW_TIMEOUT_S:.0f} s")
            time.sleep(0.1)
    except (RayError, RayServeException) as error:
        raise WithdrawError(f"Ray does not answer ({error})") from error


def is_deployed(timeout_s: float) -> bool:
    """Return whether the cluster runs the application; False if Ray has not answered after `timeout_s`."""
    found: Queue[bool] = Queue()

    def look() -> None:
        # Without its head, Ray raises only after a minute.
        with suppress(RayError, RayServeException):
            found.put(APPLICATION in serve.status().applications)

    Thread(target=look, name="is-deployed", daemon=True).start()
    try:
        return found.get(timeout=timeout_s)
    except Empty:
        return False


def _number(replicas: ReplicaRange) -> dict[str, Any]:
    """Return Serve's option for the number of replicas."""
    if replicas.min == replicas.max:
        return {"num_replicas": replicas.min}
    name = f"{autoscaling.__name__}:{autoscaling.follow_backlog.__name__}"
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=replicas.min,
            max_replicas=replicas.max,
            target_ongoing_requests=replicas.jobs_per_replica,
            upscale_delay_s=replicas.up_delay_s,
            downscale_delay_s=replicas.down_delay_s,
            look_back_period_s=LOOK_BACK_S,
            policy=AutoscalingPolicy(policy_function=name),
        )
    }


def _require_room(replicas: ReplicaRange, num_cpus: float, num_gpus: float) -> None:
    """Raise if not even the least number of replicas fits, for which Ray would wait without an end."""
    if num_gpus >= 1 and replicas.min > num_gpus:
        raise ValueError(
            f"got serve.replicas.min {replicas.min} on a cluster with {num_gpus:g} GPUs, of which each "
            "replica takes one; lower it, or add GPUs"
        )
    if ANIMATION_CPUS * replicas.min + API_CPUS > num_cpus:
        raise ValueError(
            f"got serve.replicas.min {replicas.min} on a cluster with {num_cpus:g} CPUs, of which each "
            f"replica takes {ANIMATION_CPUS:g}; lower it, or add machines"
        )
