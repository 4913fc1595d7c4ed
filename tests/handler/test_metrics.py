import logging
import threading

import pytest
import yaml

from falconet.handler import metrics
from falconet.handler.interval import REPORT_SECONDS, report_seconds
from falconet.handler.metrics import Metrics
from falconet.serving.configuration import METRICS


def told(caplog: pytest.LogCaptureFixture) -> set[str]:
    """What was written, without the host and the time."""
    return {message.partition("|#type")[0] for message in caplog.messages if "[METRICS]" in message}


def test_sums_are_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "report_seconds", lambda: 1000.0)
    caplog.set_level(logging.INFO)
    counted = Metrics(("cifar10", "1.0"))
    counted.began(4)
    counted.took("decode", 0.25)
    counted.took("decode", 0.5)
    counted.answered([200, 415, 200], images=2, seconds=0.75)
    counted.answered([200], images=1, seconds=0.25)
    counted.answered([415], images=0, seconds=8.0)
    counted.answered([200, 415], images=0, seconds=8.0, explained=1)
    counted.report()
    of_model = "|#model_name:cifar10,model_version:1.0"
    assert told(caplog) == {
        f"[METRICS]falconet_stage_seconds_total.Count:0.75{of_model},stage:decode",
        *(
            f"[METRICS]falconet_stage_duration_seconds_bucket.Count:{count}{of_model},"
            f"stage:decode,le:{bound}"
            for bound, count in (
                *(("0.25", 1.0), ("0.5", 2.0), ("1.0", 2.0)),
                *(("2.5", 2.0), ("5.0", 2.0), ("10.0", 2.0), ("+Inf", 2.0)),
            )
        ),
        f"[METRICS]falconet_predictions_succeeded_total.Count:3.0{of_model}",
        f"[METRICS]falconet_batch_seconds_total.Count:1.0{of_model}",
        f"[METRICS]falconet_requests_begun_total.Count:4.0{of_model}",
        f"[METRICS]falconet_batches_total.Count:4.0{of_model}",
        f"[METRICS]falconet_images_total.Count:3.0{of_model}",
        f"[METRICS]falconet_requests_total.Count:4.0{of_model},status:200",
        f"[METRICS]falconet_requests_total.Count:3.0{of_model},status:415",
    }
    caplog.clear()
    counted.report()
    assert not told(caplog)


def test_they_are_told_by_themselves(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORT_SECONDS, "0.01")
    caplog.set_level(logging.INFO)
    done = threading.Event()
    counted = Metrics(("cifar10", "1.0"))
    report = counted.report

    def report_and_say() -> None:
        report()
        done.set()

    monkeypatch.setattr(counted, "report", report_and_say)
    for _ in range(2):  # again after the first time
        counted.answered([200], images=1, seconds=0.1)
        assert done.wait(10)
        done.clear()
    assert sum("requests_total" in message for message in caplog.messages) == 2


def test_all_are_declared_to_the_server() -> None:
    declared = yaml.safe_load(METRICS.read_text())["model_metrics"]["counter"]
    names = {
        *(metrics.BEGUN, metrics.REQUESTS, metrics.BATCHES, metrics.IMAGES),
        *(metrics.SUCCEEDED, metrics.BATCH_SECONDS, metrics.STAGE_SECONDS, metrics.STAGE_BUCKETS),
    }
    assert {each["name"] for each in declared} == names


def test_the_interval_is_at_most_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits for two of them, and knows nothing of it, waits long enough."""
    monkeypatch.delenv(REPORT_SECONDS, raising=False)
    assert report_seconds() == 1.0
    monkeypatch.setenv(REPORT_SECONDS, "0.25")
    assert report_seconds() == 0.25
    monkeypatch.setenv(REPORT_SECONDS, "")
    assert report_seconds() == 1.0
    for text in ("0", "-1", "1.5", "soon", "nan"):
        monkeypatch.setenv(REPORT_SECONDS, text)
        with pytest.raises(ValueError, match=f"expected seconds above 0 and up to 1, got '{text}'"):
            report_seconds()
