"""The overlays of infra/kubernetes: the schemas of their objects, and what schemas leave open."""

import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipelines.local.service_definitions import RAY_HEAD_VARIABLES
from tests.conftest import CHECKOUT
from tests.infra.kuberay import SPECS, cluster_of, pod_templates
from tests.infra.kustomize import build
from tests.infra.monitoring import scrape_configs
from tests.infra.variables import SECRETS, stack_variables

FOLDER = CHECKOUT / "infra/kubernetes"
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))
KUBERNETES = "1.34"
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def training():
    return yaml.safe_load((FOLDER / "training.yaml").read_text())


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request):
    return [*build(FOLDER / "overlays" / request.param), training()]


@pytest.fixture(scope="module")
def base():
    return build(FOLDER / "base")


def pods(objects):
    """Return the pods' specs, with the labels of each."""
    templates = []
    for one in objects:
        if one["kind"] == "Deployment":
            templates.append(one["spec"]["template"])
        elif one["kind"] in SPECS:
            templates += pod_templates(one["spec"])
    return [(template["metadata"]["labels"], template["spec"]) for template in templates]


def containers(objects):
    return [
        one for _, spec in pods(objects) for one in [*spec.get("initContainers", []), *spec["containers"]]
    ]


def named(objects, kind):
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def validate(one):
    kind = one["kind"]
    if kind not in SPECS:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        return
    assert one["apiVersion"] == "ray.io/v1"
    jsonschema.validate(one["spec"], SPECS[kind])
    for template in pod_templates(one["spec"]):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_every_object_is_valid(objects):
    for one in objects:
        validate(one)


def test_a_misspelt_field_is_found(base):
    for path in (["metrics"], ["headGroupSpec", "template", "spec", "volume"]):
        cluster = yaml.safe_load(yaml.safe_dump(named(base, "RayCluster")["lia"]))
        node = cluster["spec"]
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = {}
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            validate(cluster)


def test_every_file_of_the_base_is_used():
    listed = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]
    files = {path.name for path in (FOLDER / "base").iterdir()} - {"kustomization.yaml"}
    assert {name for name in listed if name.endswith(".yaml")} == files


def test_names_are_used_once(objects):
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert all(one["metadata"].get("namespace", "lia") == "lia" for one in objects)


def test_pods_run_with_the_rights_that_the_namespace_allows(objects):
    for _, spec in pods(objects):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in containers(objects):
        assert one["securityContext"] == RESTRICTED, one["name"]
        assert "memory" in one["resources"]["limits"], one["name"]
    for one in named(objects, "RayCluster").values():
        assert one["spec"]["autoscalerOptions"]["securityContext"] == RESTRICTED


def test_the_variables_are_those_of_the_stack(base):
    text = "".join(path.read_text() for path in FOLDER.rglob("*.yaml"))
    used = set(re.findall(r"\bSTACK_\w+", text))
    # Each service has an address of its own and its usual port here, and nodes have the size of their pod.
    of_one_machine = {name for name in stack_variables() if name.endswith(("_PORT", "_HOST", "_NODE_CPUS"))}
    # In a Secret of its own, whose form KubeRay prescribes.
    of_ray = {"STACK_RAY_TOKEN"}
    assert used == (stack_variables().keys() - of_one_machine) | (SECRETS - of_ray)
    assert named(base, "ConfigMap")["stack"]["data"] == stack_variables()


def test_rays_head_notices_a_lost_node_as_fast_as_elsewhere(base):
    name = "RAY_health_check_period_ms"
    assert named(base, "ConfigMap")["clients"]["data"][name] == RAY_HEAD_VARIABLES[name]
    for cluster in named(base, "RayCluster").values():
        (head,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
        assert {"configMapRef": {"name": "clients"}} in head["envFrom"]


def test_a_value_only_names_variables_that_its_container_has(objects):
    maps = named(objects, "ConfigMap")
    for one in containers(objects):
        known = set()
        for source in one.get("envFrom", []):
            known |= SECRETS if "secretRef" in source else maps[source["configMapRef"]["name"]]["data"].keys()
        for variable in one.get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= known, variable
        shown = " ".join([*one.get("command", []), *one.get("args", [])])
        assert set(re.findall(r"\$(STACK_\w+)", shown)) <= known


def test_volumes_and_claims_are_there(objects):
    claims, maps = named(objects, "PersistentVolumeClaim"), named(objects, "ConfigMap")
    for _, spec in pods(objects):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for one in [*spec.get("initContainers", []), *spec["containers"]]:
            assert {mount["name"] for mount in one.get("volumeMounts", [])} <= volumes.keys()
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in claims
            assert volume.get("configMap", {}).get("name") in {None, *maps}


def test_services_and_policies_select_pods_that_listen(objects):
    listening = [
        (labels, {port["containerPort"] for one in spec["containers"] for port in one.get("ports", [])})
        for labels, spec in pods(objects)
    ]

    def ports_of(selector):
        return [ports for labels, ports in listening if selector.items() <= labels.items()]

    for name, service in named(objects, "Service").items():
        if "selector" in service["spec"]:
            found = ports_of(service["spec"]["selector"])
            assert found, name
            assert all(port["port"] in ports for port in service["spec"]["ports"] for ports in found), name
    policies = named(objects, "NetworkPolicy")
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} in [one["spec"] for one in policies.values()]
    for name, policy in policies.items():
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        assert ports_of(selector), name
        for rule in policy["spec"].get("ingress", []):
            for peer in rule.get("from", []):
                assert "namespaceSelector" in peer or ports_of(peer["podSelector"]["matchLabels"]), peer


def test_prometheus_reaches_what_it_reads(objects):
    services = named(objects, "Service")
    for job in scrape_configs().values():
        (target,) = job["dns_sd_configs"]
        for name in target["names"]:
            assert services[name]["spec"]["ports"] == [{"port": target["port"]}]
    # One address would stand for all nodes otherwise.
    assert services["ray"]["spec"]["clusterIP"] == "None"


def test_ray_runs_in_the_version_of_the_image_and_asks_for_a_token(objects):
    (version,) = re.findall(r"^ray==(.+)$", (CHECKOUT / "constraints.txt").read_text(), re.MULTILINE)
    for one in objects:
        cluster = cluster_of(one["spec"]) if one["kind"] in SPECS else None
        if cluster is not None:
            assert cluster["rayVersion"] == version
            assert cluster["authOptions"] == {"mode": "token", "secretName": "ray-token"}


@pytest.mark.parametrize(("overlay", "gpus"), [("cpu", set()), ("one-gpu", {"1"}), ("many-gpus", {"1", "8"})])
def test_overlays_differ_in_their_gpus(overlay, gpus):
    objects = build(FOLDER / "overlays" / overlay)
    found = set()
    for one in objects:
        cluster = cluster_of(one["spec"]) if one["kind"] in SPECS else None
        groups = [] if cluster is None else [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
        for group in groups:
            (container,) = group["template"]["spec"]["containers"]
            told = group["rayStartParams"].get("num-gpus")
            has = container["resources"]["limits"].get("nvidia.com/gpu")
            assert (told is None) == (has is None) == (container["image"] == "open-lia:cpu")
            assert told is None or told == str(has)
            found |= {told} - {None}
    assert found == gpus
