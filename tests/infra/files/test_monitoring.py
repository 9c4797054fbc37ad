"""Prometheus's files and the dashboards, as promtool and Grafana take them."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.infra.monitoring import (
    DASHBOARDS,
    MONITORING,
    PREFIXES,
    alerts,
    expressions,
    is_of,
    scrape_configs,
)
from tests.infra.promql import read


@pytest.fixture
def promtool():
    """Function that runs promtool and asserts its success."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: run infra/debian-packages.sh, or take it from prometheus.io")

    def run(*arguments, cwd=MONITORING):
        done = subprocess.run(["promtool", *arguments], cwd=cwd, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_an_expression_is_read():
    found = read('sum by (le, route) (rate(a_bucket{job="s", x=~"b{2}"}[5m])) / on () b_total > 0.05')
    assert found.labels_by_metric == {"a_bucket": {"job", "x"}, "b_total": set()}
    assert found.grouping == {"le", "route"}
    assert found.missing_in({"a_bucket": {"le", "x"}}) == {"b_total"}
    assert found.missing_in({"a_bucket": {"le", "x"}, "b_total": set()}) == {"by (route)"}
    assert found.missing_in({"a_bucket": {"le", "route"}, "b_total": set()}) == {"a_bucket{x}"}


def test_prometheus_takes_its_files(promtool):
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")


def test_alerts_fire_where_they_should_and_nowhere_else(promtool):
    promtool("test", "rules", "alerts_test.yml")
    cases = (MONITORING / "alerts_test.yml").read_text()
    assert [alert["alert"] for alert in alerts() if f'"{alert["alert"]}"' not in cases] == []


def test_prometheus_takes_the_expressions_of_the_dashboards(promtool, tmp_path):
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", "rules.yml", cwd=tmp_path)


def test_every_expression_reads_a_job_that_is_scraped():
    jobs = scrape_configs().keys()
    assert jobs == PREFIXES.keys()
    for one in expressions():
        named = set(re.findall(r'job="(\w+)"', one))
        assert named <= jobs
        assert named or any(is_of(job, one) for job in jobs), one


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_takes(path):
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == f"lia-{path.stem}"
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert [panel["id"] for panel in dashboard["panels"]] == list(range(1, len(places) + 1))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            one = read(target["expr"])
            selected = set().union(*one.labels_by_metric.values())
            assert shown <= one.grouping | selected | {"instance"}, panel["title"]
