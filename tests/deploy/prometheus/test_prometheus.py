"""The rules: by Prometheus's own tool, and in a Prometheus that watches a real server."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Prometheus


def test_rules_are_about_metrics_that_exist(
    rules: list[dict[str, Any]], declared: set[str]
) -> None:
    used = {
        name
        for rule in rules
        for name in re.findall(r"(?<![\w:])(?:falconet|ts)_\w+", rule["expr"])
    }
    assert used
    assert used <= declared


@pytest.mark.needs("promtool")
def test_alerts_fire_when_they_should(rules_folder: Path) -> None:
    for command in (
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *command], cwd=rules_folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.server
def test_records_of_a_real_server(prometheus: Prometheus, rules: list[dict[str, Any]]) -> None:
    within = {
        "falconet:requests:rate1m": (0, 10_000),
        "falconet:failed:ratio5m": (0, 1),
        "falconet:unanswered:ratio5m": (0, 1),
        "falconet:batch_size:mean5m": (1, 16),
        "falconet:stage_seconds:mean5m": (1e-7, 1),
        "falconet:queue_seconds:mean1m": (1e-7, 10),
        "falconet:in_hand": (0, 100),
        "falconet:stage_seconds:p99_5m": (1e-5, 10),
        "falconet:gateway_requests:rate1m": (0, 10_000),
        "falconet:gateway_seconds:p99_5m": (1e-4, 10),
        "falconet:gateway_failed:ratio5m": (0, 1),
        "falconet:gateway_limited:ratio5m": (0, 1),
    }
    assert within.keys() == {rule["record"] for rule in rules if "record" in rule}
    # Compared, so that a mean of nothing yet is left out.
    ours = {f'{name}{{model_name="cifar10"}} >= 0': limits for name, limits in within.items()}
    found = prometheus.wait_for(
        [
            *ours,
            'up{job="falconet"} == 1',
            'up{job="falconet-gateway"} == 1',
            'falconet:requests:rate1m{model_name="cifar10", status="200"} > 0',
            *(
                f'falconet:stage_seconds:mean5m{{model_name="cifar10", stage="{stage}"}} > 0'
                for stage in ("decode", "preprocess", "inference")
            ),
        ]
    )
    for name, (low, high) in ours.items():
        assert all(low <= value <= high for value in found[name]), (name, found[name])
