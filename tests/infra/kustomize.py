"""Builds overlays as kustomize would, as far as infra/kubernetes uses it; anything else is an error.

kustomize itself is in no package index that we use, so that it reads the files the same way is not tested.
"""

import copy
from pathlib import Path

import yaml

_KEYS = {"apiVersion", "kind", "resources", "namespace", "patches", "configMapGenerator", "generatorOptions"}


def build(folder: Path):
    """Return the objects of a folder with a kustomization.yaml."""
    wish = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert wish.keys() <= _KEYS, wish.keys() - _KEYS
    objects = [config_map(folder, one) for one in wish.get("configMapGenerator", [])]
    for name in wish.get("resources", []):
        path = (folder / name).resolve()
        objects += build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for one in wish.get("patches", []):
        target = one["target"]
        (found,) = [
            o for o in objects if (o["kind"], o["metadata"]["name"]) == (target["kind"], target["name"])
        ]
        for operation in yaml.safe_load(one["patch"]):
            apply_operation(found, operation)
    if "namespace" in wish:
        for one in objects:
            if one["kind"] != "Namespace":
                one["metadata"]["namespace"] = wish["namespace"]
    return objects


def config_map(folder, wish):
    data = {}
    for name in wish.get("envs", []):
        lines = (folder / name).read_text().splitlines()
        data |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for name in wish.get("files", []):
        data[Path(name).name] = (folder / name).read_text()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": wish["name"]}, "data": data}


def apply_operation(node, operation):
    """Carry out one operation of RFC 6902."""
    *way, last = [one.replace("~1", "/").replace("~0", "~") for one in operation["path"].split("/")[1:]]
    for one in way:
        node = node[int(one)] if isinstance(node, list) else node[one]
    assert operation["op"] == "add" or (operation["op"] == "replace" and last in node), operation
    node[last] = copy.deepcopy(operation["value"])
