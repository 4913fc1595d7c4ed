"""The autoscaler, and KEDA's object in its place."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

Resources = dict[str, dict[str, Any]]  # by file


def test_scaling_by_either_is_alike(resources: Resources) -> None:
    """KEDA's object has no schema here, so that its fields are compared by hand."""
    own = resources["autoscaler.yaml"]["spec"]
    keda = resources["keda/scaledobject.yaml"]
    assert (keda["apiVersion"], keda["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec = keda["spec"]
    assert spec["minReplicaCount"] == own["minReplicas"] >= 2
    assert spec["maxReplicaCount"] == own["maxReplicas"] > own["minReplicas"]
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == own["behavior"]
    assert spec.keys() == {
        *("scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval"),
        *("triggers", "advanced"),
    }
    prometheus, cpu = spec["triggers"]
    assert (prometheus["type"], prometheus["metricType"]) == ("prometheus", "Value")
    assert prometheus["metadata"].keys() == {"serverAddress", "query", "threshold"}
    assert float(prometheus["metadata"]["threshold"]) > 0
    # KEDA reads all metadata as text.
    for trigger in spec["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    (metric,) = own["metrics"]
    assert cpu["type"] == metric["resource"]["name"] == "cpu"
    target = metric["resource"]["target"]
    assert cpu["metricType"] == target["type"]
    assert cpu["metadata"] == {"value": str(target["averageUtilization"])}


@pytest.mark.needs("promtool")
def test_the_query_is_a_number_at_any_time(
    resources: Resources, repository: Path, tmp_path: Path
) -> None:
    """Before there are metrics, while nobody asks, and when somebody does."""
    query = resources["keda/scaledobject.yaml"]["spec"]["triggers"][0]["metadata"]["query"]
    shutil.copy(repository / "deploy" / "prometheus" / "rules.yml", tmp_path)
    label = 'model_name="cifar10"'
    cases = {None: 0, ("5x40", "5x40"): 0, ("0+300000x40", "0+15x40"): 0.02}
    tests = [
        {
            "interval": "15s",
            "input_series": []
            if series is None
            else [
                {"series": f"ts_queue_latency_microseconds{{{label}}}", "values": series[0]},
                {"series": f"ts_inference_requests_total{{{label}}}", "values": series[1]},
            ],
            "promql_expr_test": [
                {
                    "expr": query,
                    "eval_time": "5m",
                    "exp_samples": [{"labels": "{}", "value": expected}],
                }
            ],
        }
        for series, expected in cases.items()
    ]
    content = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
