"""Trials: a new version gets some of the requests before it becomes the current version."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .deployment import Deployment, Say
from .errors import ServerError
from .gateway import ACCESS_LOG
from .log_reader import LogReader
from .package import Package
from .record import Release, lock_models
from .response_stats import ResponseStats
from .rollout import all_or_none
from .server import Server
from .store import identify

POLL_SECONDS = 1.0
# If so many responses have all failed, a version is taken to fail always.
ENOUGH = 20
# nginx writes whole milliseconds; less than a few of them is no difference.
SLACK_SECONDS = 0.005


@dataclass(frozen=True)
class Trial:
    """The requests that a new version gets, and the criteria of the trial.

    Attributes:
        percent: share of the requests that name no version.
        duration: seconds of the trial.
        max_error_rate: maximum share of its responses with status 5xx, unless the current version
            has as many.
        max_latency_ratio: maximum ratio of its p95 latency to that of the current version.
        min_requests: minimum number of its responses for a decision.
    """

    percent: int = 10
    duration: float = 60.0
    max_error_rate: float = 0.01
    max_latency_ratio: float = 1.5
    min_requests: int = 100


def canary(server: Server, archive: Path, trial: Trial, say: Say = lambda _: None) -> Release:
    """Deploy an archive if it passes a trial with requests from the gateway.

    Returns:
        the current version.

    Raises:
        ServerError: as :func:`.rollout.deploy`; or no gateway runs, or the version has failed the
            trial. Then the current version is unchanged, and the new one is removed.
    """
    package = Package.verify(archive)
    deployment = Deployment(server, package.model, say)
    with lock_models(server.folder):
        record = deployment.recover()
        if record is None:
            raise ServerError(
                f"no model {package.model} on this server; it has {', '.join(server.models)}; a "
                "model's name is the file name that falconet archive wrote (--output MODEL.mar); "
                "to add a model, use: falconet deploy"
            )
        serving = record.serving
        release = identify(archive)
        if release == serving:
            say(f"{package.model} {package.version} is already the current version")
            return release
        with all_or_none([deployment]) as switch:
            deployment.prepare(release, package, archive, "deploy")
            deployment.share(trial.percent)
            _judge(deployment, release.version, trial)
            switch()
        deployment.drain()
        return release


def _judge(deployment: Deployment, version: str, trial: Trial) -> None:
    """Watch until the time is over, or the version is clearly worse.

    Raises:
        ServerError: it is.
    """
    old, new = ResponseStats(), ResponseStats()
    model = deployment.model
    # As nginx.conf asks them.
    paths = {
        f"/predictions/{model}": old,
        f"/v1/models/{model}:predict": old,
        f"/v2/models/{model}/infer": old,
        f"/predictions/{model}/{version}": new,
    }
    deadline = time.monotonic() + trial.duration
    with LogReader(deployment.server.gateway / ACCESS_LOG) as log:
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            deployment.renew()
            for entry in _entries(log):
                # Too much, or the client's own fault, says nothing about a version. With 499 the
                # client did not wait for an answer, which says how long it took at least.
                status = entry["status"]
                if entry["asked"] in paths and (status < 400 or status >= 499):
                    seconds = float(entry["upstream_seconds"].split(",")[-1].strip("- ") or 0)
                    paths[entry["asked"]].add(status, seconds or entry.get("seconds", 0.0))
            # Clearly worse: by more than chance explains, of what is allowed and of what serves.
            excused = old.failure_rate if old.count >= ENOUGH else 0.0
            if new.failure_rate_interval()[0] > max(trial.max_error_rate, excused):
                raise ServerError(
                    f"version {version} failed the trial: {new}; current version: {old}"
                )
    if new.count < trial.min_requests:
        raise ServerError(
            f"expected at least {trial.min_requests} responses of version {version} for a "
            f"decision, got {new.count}; use a longer --duration or a larger --percent"
        )
    # What fails no more often than what serves, under the same load, is not worse; but nothing is
    # known of what never answered.
    answers = old.count >= ENOUGH and old.failed < old.count
    as_good = answers and new.failure_rate <= old.failure_rate_interval()[1]
    if new.failure_rate > trial.max_error_rate and not as_good:
        raise ServerError(f"version {version} failed the trial: {new}; current version: {old}")
    # Where the old one fails whenever it is asked there is nothing to be slower than.
    if (
        old.failed < max(old.count, ENOUGH)
        and new.percentile(95) > trial.max_latency_ratio * old.percentile(95) + SLACK_SECONDS
    ):
        raise ServerError(f"version {version} is too slow: {new}; current version: {old}")
    deployment.say(f"version {version} passed the trial: {new}; current version: {old}")


def _entries(log: LogReader) -> Iterator[dict[str, Any]]:
    """The new entries of an access log, but for one that a full disk has cut off."""
    for line in log.lines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
