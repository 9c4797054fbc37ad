"""What the dashboards and alerts read, and what a scrape exposes."""

import json
import re

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import CHECKOUT
from tests.infra.promql import read

MONITORING = CHECKOUT / "infra/monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
PREFIXES = {"serve": "lia_", "ray": "ray_", "prefect": "prefect_"}
"""How the names of each job's own metrics begin."""
_OF_PROMETHEUS = {"up": set()}


def scrape_configs():
    """Return Prometheus's jobs by name."""
    jobs = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    return {job["job_name"]: job for job in jobs}


def alerts():
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions():
    """Return all expressions of dashboards and alerts."""
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return shown + [alert["expr"] for alert in alerts()]


def is_of(job, expression):
    """Return whether the expression reads metrics of the job: its own, or those of its process."""
    named = re.search(r'job="(\w+)"', expression)
    own = any(metric.startswith(PREFIXES[job]) for metric in read(expression).labels_by_metric)
    return own if named is None else named[1] == job


def exposed_in(text):
    """Return the labels by name of all series of a scrape."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def missing_of(job, exposed):
    """Return the metrics and labels that expressions read of the job and that it does not expose."""
    checked = [read(one) for one in expressions() if is_of(job, one)]
    assert checked
    return {name for one in checked for name in one.missing_in(exposed | _OF_PROMETHEUS)}


def assert_exposed(job, exposed):
    missing = missing_of(job, exposed)
    assert not missing, sorted(missing)
