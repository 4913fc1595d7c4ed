"""The rules, by Prometheus's own tool, and that they are about what is exported."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from falconet.serving.configuration import METRICS


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "deploy" / "prometheus"


def test_rules_are_about_metrics_that_exist(folder: Path) -> None:
    declared = yaml.safe_load(METRICS.read_text())
    names = {
        metric["name"]
        for section in ("ts_metrics", "model_metrics")
        for metrics in declared[section].values()
        for metric in metrics
    }
    rules = yaml.safe_load((folder / "rules.yml").read_text())["groups"][0]["rules"]
    used = {
        name
        for rule in rules
        for name in re.findall(r"(?<![\w:])(?:falconet|ts)_\w+", rule["expr"])
    }
    assert used
    assert used <= names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_alerts_fire_when_they_should(folder: Path) -> None:
    for command in (
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
