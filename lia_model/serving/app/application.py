"""Builds the Ray Serve application, and starts and removes it."""

from ray import cluster_resources, serve

from lia_model.serving.app.animation_replica import AnimationReplica
from lia_model.serving.app.api_replica import AnimationApi
from lia_model.serving.app.config import ServingConfig

APPLICATION = "lia"


def build_application(config: ServingConfig, num_gpus: float, host: str, port: int) -> serve.Application:
    """Return the application, which listens at `host`:`port` and animates with `num_gpus` GPUs."""
    # Not as decorators: they replace the class, and Ray would then pickle its code instead of its name.
    animation = serve.deployment(
        num_replicas=1,
        graceful_shutdown_timeout_s=60,
        ray_actor_options={"num_cpus": 0.5, "num_gpus": num_gpus},
    )(AnimationReplica)
    api = serve.deployment(
        num_replicas=1,
        # The address is one of the head's; only there exists this resource.
        ray_actor_options={"num_cpus": 0.1, "resources": {"node:__internal_head__": 0.001}},
    )(AnimationApi)
    return api.bind(config, animation.bind(config), host, port)


def deploy(config: ServingConfig, host: str, port: int) -> None:
    """Start Serve on the cluster this process is connected to and wait until the application answers.

    An application that already runs is replaced; its jobs are resumed.
    """
    num_gpus = min(1.0, cluster_resources().get("GPU", 0.0))
    serve.start(proxy_location="Disabled")
    serve.run(build_application(config, num_gpus, host, port), name=APPLICATION, route_prefix=None)


def withdraw() -> None:
    """Remove the application from the cluster; queued jobs are kept for the next one."""
    serve.delete(APPLICATION)
