"""The dashboard and the alerts speak of metrics and labels that there are, in expressions that Prometheus can read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from clipledger.cli.exits import Exit
from clipledger.metrics.table import BY_NAME, METRICS, Kind
from tidy.house import ROOT, none_of
from tidy.test_reference import commands

PROMETHEUS, DASHBOARD = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana" / "clipledger.json"
RULES = ("recording.yml", "alerts.yml")

LIBRARY = {"process_resident_memory_bytes", "process_cpu_seconds_total", "up"}
"""What is scraped beside our own."""

SCRAPED = {"instance", "job"}
JOINED = {"archive", "version"}
"""Labels that `group_left` brings from the info metrics."""


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in RULES:
        for group in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield f"{name}: {rule.get('alert') or rule['record']}", rule


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Walk every expression of rules and dashboard as (where, PromQL)."""
    for where, rule in rules():
        yield where, rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"dashboard: {panel['title']}", target["expr"]
    for note in dashboard()["annotations"]["list"]:
        yield f"dashboard: {note['name']}", note["expr"]


RECORDED = {rule["record"] for _, rule in rules() if "record" in rule}


def series_of(metric: str) -> set[str] | None:
    """Give the labels of a series as it is scraped; None when there is none of this name."""
    stem = re.sub(r"_(bucket|sum|count)$", "", metric)
    row = BY_NAME.get(metric) or (found if (found := BY_NAME.get(stem)) and found.kind is Kind.HISTOGRAM else None)
    if row is None or (row.kind is Kind.HISTOGRAM and stem == metric):
        return None
    return set(row.labels) | ({"le"} if metric.endswith("_bucket") else set())


def selectors(node: object) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
        inner = getattr(node, name, None)
        for each in inner if isinstance(inner, list) else [inner]:
            if each is not None:
                yield from selectors(each)


def parsed(expression: str) -> Any:
    return promql_parser.parse(expression)


def test_every_expression_can_be_read() -> None:
    """Prometheus would take every expression of the rules and the dashboard."""
    broken = []
    for where, expression in expressions():
        try:
            parsed(expression)
        except ValueError as error:
            broken.append(f"{where}: {error}")
    none_of(broken, "expressions that are no PromQL")


def test_every_metric_and_label_exists() -> None:
    """No panel and no alert waits for a metric, or a label of one, that no process serves."""
    wrong, seen = [], set()
    for where, expression in expressions():
        for selector in selectors(parsed(expression)):
            name, matched = selector.name, {matcher.name for matcher in selector.matchers.matchers} - {"__name__"}
            if name in LIBRARY:
                labels: set[str] | None = set()
            elif name in RECORDED:
                labels = {"archive", "state", "reason", "outcome", "endpoint"}
            else:
                labels = series_of(str(name))
            seen.add(re.sub(r"_(bucket|sum|count)$", "", str(name)))
            if labels is None:
                wrong.append(f"{where}: {name} does not exist")
            elif lacking := matched - labels - SCRAPED:
                wrong.append(f"{where}: {name} has no label {sorted(lacking)}")
    none_of(wrong, "what the rules and the dashboard name and nobody serves")
    spelt = {word for _, expression in expressions() for word in re.findall(r"(?<![:\w])clipledger_\w+", expression)}
    assert {re.sub(r"_(bucket|sum|count)$", "", word) for word in spelt} <= seen, "expressions not looked into"


def test_every_grouping_is_by_a_label_that_there_is() -> None:
    """`by (...)` and legends name labels of the table, or those that Prometheus and the joins bring."""
    known = {label for row in METRICS for label in row.labels} | SCRAPED | JOINED | {"le"}
    wrong = [
        f"{where}: {label}"
        for where, expression in expressions()
        for group in re.findall(r"\b(?:by|on|group_left) ?\(([^)]*)\)", expression)
        for label in re.split(r"[, ]+", group)
        if label not in known
    ]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            legends = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            wrong += [f"dashboard: {panel['title']}: {label}" for label in legends if label not in known]
    none_of(wrong, "labels that nothing bears")


def test_every_recorded_series_is_used() -> None:
    """No rule is computed that nobody looks at."""
    used = {str(s.name) for where, e in expressions() for s in selectors(parsed(e))}
    none_of(sorted(RECORDED - used), "recording rules without a reader")


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a severity, one sentence of what is wrong and what to do; every command it names exists."""
    names = {name.split()[0] for name, _ in commands()}
    for where, rule in rules():
        if "alert" not in rule:
            continue
        assert set(rule["annotations"]) == {"summary", "action"} and len(rule["annotations"]["action"]) > 40, where
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), where
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"`clipledger (\w+)", text)) <= names, where
        assert {int(code) for code in re.findall(r"exit (\d+)", text)} <= {code.value for code in Exit}, where


def test_the_dashboard_is_whole() -> None:
    """Panels have ids of their own, do not lie on each other, and say what they show."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    none_of([p["title"] for p in panels if p["type"] != "row" and not p.get("description")], "panels without a word")


def promtool() -> str:
    found = shutil.which("promtool", path=f"{ROOT}/.tools:/usr/bin:/usr/local/bin:{Path.home()}/.local/bin")
    if found is None:
        pytest.skip("NOT TESTED: the alerts themselves: promtool is not installed (Debian: the package prometheus)")
    return found


@pytest.mark.parametrize("words", ["check rules alerts.yml recording.yml", "test rules tests/alerts_test.yml"])
def test_the_alerts_ring_when_they_should(words: str) -> None:
    """Each alert rings on the trouble that it is for, with the right words, and not on an ordinary day."""
    told = subprocess.run(
        [promtool(), *words.split()], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_has_a_test() -> None:
    """No alert is without a case in which it rings."""
    told = yaml.safe_load((PROMETHEUS / "tests" / "alerts_test.yml").read_text(encoding="utf-8"))
    rung = {c["alertname"] for test in told["tests"] for c in test["alert_rule_test"] if c["exp_alerts"]}
    assert {rule["alert"] for _, rule in rules() if "alert" in rule} == rung
