"""The part of KubeRay's schemas (ray.io/v1 of KubeRay 1.6) that infra/kubernetes uses, from its reference.

Written by hand: the whole ones are in no package index that we use. What is not listed here is refused.

Pod templates are left to Kubernetes' own schemas: see `pod_templates`.
"""

_TEXT, _COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}


def _object(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_PARAMS = {"type": "object", "additionalProperties": _TEXT}
_TEMPLATE = {"type": "object"}
_HEAD = _object(["template"], rayStartParams=_PARAMS, template=_TEMPLATE)
_WORKERS = _object(
    ["groupName", "template", "maxReplicas", "minReplicas"],
    groupName=_TEXT,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    rayStartParams=_PARAMS,
    template=_TEMPLATE,
)
_CLUSTER = _object(
    ["headGroupSpec"],
    rayVersion=_TEXT,
    authOptions=_object(mode={"enum": ["token", "disabled"]}, secretName=_TEXT),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_object(securityContext={"type": "object"}),
    headGroupSpec=_HEAD,
    workerGroupSpecs={"type": "array", "items": _WORKERS},
)
SPECS = {
    "RayCluster": _CLUSTER,
    "RayJob": _object(
        ["entrypoint"],
        clusterSelector={"type": "object", "additionalProperties": _TEXT},
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        entrypoint=_TEXT,
    ),
    "RayService": _object(
        ["rayClusterConfig"],
        serveConfigV2=_TEXT,
        upgradeStrategy=_object(type={"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}),
        rayClusterConfig=_CLUSTER,
    ),
}


def cluster_of(spec):
    """Return the Ray cluster that a spec describes, or None."""
    return spec.get("rayClusterConfig", spec if "headGroupSpec" in spec else None)


def pod_templates(spec):
    """Return the pod templates of a spec."""
    cluster = cluster_of(spec)
    groups = [] if cluster is None else [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    return [group["template"] for group in groups]
