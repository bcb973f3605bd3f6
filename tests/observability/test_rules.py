"""Dashboard and alert rules ask only for metrics and labels that running processes export."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from nextvec.capacity.service_times import PROCESSES
from tools import generate_metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
RULES = [r for g in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for r in g["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
FROM_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to whatever it scrapes."""


def panel_queries():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def queries():
    return [rule["expr"] for rule in RULES] + panel_queries()


def parsed(query):
    """The query, Grafana's variables replaced by what they may stand for."""
    return promql.parse(query.replace("$__rate_interval", "5m").replace("$route", ".*"))


def asked(expression):
    """(metric names, label names) anywhere in an expression."""
    names, labels = set(), set()
    if isinstance(expression, promql.VectorSelector):
        names.add(expression.name)
        labels |= {matcher.name for matcher in expression.matchers.matchers}
    modifier = getattr(expression, "modifier", None)
    for part in (modifier, getattr(modifier, "matching", None)):
        labels |= set(getattr(part, "labels", None) or ())
    for field in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, field, None)
        if isinstance(inner, promql.Expr) or type(inner).__module__ == type(expression).__module__:
            more = asked(inner)
            names, labels = names | more[0], labels | more[1]
    for inner in getattr(expression, "args", None) or ():
        more = asked(inner)
        names, labels = names | more[0], labels | more[1]
    return names, labels


def test_the_walk_finds_names_and_labels_wherever_they_stand():
    names, labels = asked(
        parsed('histogram_quantile(0.9, sum by (le, q) (rate(a_bucket{x="1"}[5m]))) / on (z) b or absent(c)')
    )
    assert names == {"a_bucket", "b", "c"}
    assert {"le", "q", "x", "z"} <= labels


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_only_for_what_is_exported(observed, query):
    exported, declared = set(), set(FROM_PROMETHEUS)
    names, labels = asked(parsed(query))
    assert names
    for name in names & RECORDED.keys():
        inner = asked(parsed(RECORDED[name]))
        names, labels = names | inner[0], labels | inner[1]
    for process in PROCESSES:
        scraped = observed.scrape(process)
        for family in generate_metrics.exported(process):
            if family.name in scraped and names & set(family.series):
                exported |= set(family.series)
                declared |= {*family.labels, *(["le"] if family.type == "histogram" else [])}
    assert names - RECORDED.keys() <= exported
    assert labels <= declared, query


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_leads_to_what_it_means(rule):
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in ("page", "warning")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_the_service_levels_have_alerts_at_their_limits():
    written = " ".join(rule["expr"] for rule in ALERTS)
    for level in (
        "p50 > 1.0",
        "p95 > 1.3",
        '"gibberish"} > 0.05',
        '"keyword"} < 0.75',
        '"entity"} < 0.80',
        "0.005",
    ):
        assert level in written


def test_the_dashboard_can_be_imported_anywhere():
    variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_the_rules():
    subprocess.run(["promtool", "check", "rules", FOLDER / "alerts.yaml"], check=True, capture_output=True)
