"""The alerts: rules that fire and stay silent as they should, each with a page, on metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from backend.kernel.observe import metrics
from backend.settings import ROOT

_PROMETHEUS = ROOT / "deploy/prometheus"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((_PROMETHEUS / "rules.yml").read_text())["groups"]
    return list(group["rules"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_alerts_fire_and_stay_silent_as_their_tests_say() -> None:
    ended = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yml"], cwd=_PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_has_a_page(rule: dict[str, Any]) -> None:
    page = (ROOT / rule["annotations"]["runbook"]).read_text()
    for part in ("What it means", "What users feel", "How to look", "What to do", "When to wake somebody"):
        assert f"**{part}.**" in page


def test_alerts_ask_for_metrics_that_the_program_has() -> None:
    source = (ROOT / metrics.__file__).read_text()
    for rule in rules():
        for name in re.findall(
            r"[a-z]+(?:_[a-z]+)+", re.sub(r"\{.*?\}|on \(.*?\)|(min|max)_over_time", "", rule["expr"])
        ):
            assert re.sub("_(bucket|count|total)$", "", name) in source, name


def test_the_dashboard_shows_metrics_that_the_program_has() -> None:
    source = (ROOT / metrics.__file__).read_text()
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/backend.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            expression = re.sub(r"\{.*?\}|\[.*?\]|by \(.*?\)|histogram_quantile", "", target["expr"])
            for name in re.findall(r"[a-z]+(?:_[a-z]+)+", expression):
                assert re.sub("_(bucket|count|total)$", "", name) in source, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_accepts_its_configuration() -> None:
    command = ["promtool", "check", "config", "--syntax-only", "prometheus.yml"]
    ended = subprocess.run(command, cwd=_PROMETHEUS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
