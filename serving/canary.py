"""A new version on trial: some of the requests, until it is clear whether it is as good."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .deployment import Deployment, Say
from .errors import ServerError
from .gateway import ACCESS_LOG
from .package import Package
from .record import Release, alone
from .rollout import all_or_none
from .server import Server
from .store import identify

POLL_SECONDS = 1.0
# So many answers are enough to stop for errors before the time is over.
ENOUGH = 20
# nginx writes whole milliseconds; less than a few of them is no difference.
SLACK_SECONDS = 0.005


@dataclass(frozen=True)
class Trial:
    """What a version gets, and what it has to be like.

    Attributes:
        percent: of the requests that name no version.
        seconds: for which it does.
        failed: the highest ratio of its answers that may be 5xx.
        slower: the highest ratio of its 95th percentile of seconds to that of what serves.
        requests: so many answers at least have to be there to judge by.
    """

    percent: int = 10
    seconds: float = 60.0
    failed: float = 0.01
    slower: float = 1.5
    requests: int = 100


@dataclass
class Answers:
    """Of one version: how many, how many were 5xx, and how long each of the others took."""

    count: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, status: int, seconds: float) -> None:
        self.count += 1
        if status >= 500:
            self.failed += 1
        else:
            self.seconds.append(seconds)

    @property
    def p95(self) -> float:
        return float(np.percentile(self.seconds, 95)) if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.count} answers, {self.failed} failed, p95 {1e3 * self.p95:.0f} ms"


def canary(server: Server, archive: Path, trial: Trial, say: Say = lambda _: None) -> Release:
    """Deploy an archive if it stands a trial under the requests that come by the gateway.

    Returns:
        what serves now.

    Raises:
        ServerError: as :func:`.rollout.deploy`; or no gateway runs, or the version has not stood
            the trial. Then the old one serves as before, and nothing of the new one is left.
    """
    package = Package.verify(archive)
    deployment = Deployment(server, package.model, say)
    with alone(server.folder):
        record = deployment.recover()
        if record is None:
            raise ServerError(
                f"no model {package.model} runs here, but {', '.join(server.models)}; a model's "
                "name is that of the archive when it is made (falconet archive --output "
                "MODEL.mar); to add one, use: falconet deploy"
            )
        serving = record.serving
        release = identify(archive)
        if release == serving:
            say(f"{package.model} {package.version} is what serves already")
            return release
        with all_or_none([deployment]) as switch:
            deployment.prepare(release, package, archive, "deploy")
            deployment.share(trial.percent)
            _judge(server, package.model, release.version, trial, say)
            switch()
        deployment.drain()
        return release


def _judge(server: Server, model: str, version: str, trial: Trial, say: Say) -> None:
    """Watch until the time is over, or the version is clearly worse.

    Raises:
        ServerError: it is.
    """
    old, new = Answers(), Answers()
    paths = {
        f"/predictions/{model}": old,
        f"/predictions/{model}/{version}": new,
    }
    deadline = time.monotonic() + trial.seconds
    with (server.gateway / ACCESS_LOG).open() as log:
        log.seek(0, os.SEEK_END)
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            for entry in _entries(log):
                # Too much, or the client's own fault, says nothing about a version.
                if entry["asked"] in paths and (entry["status"] < 400 or entry["status"] >= 500):
                    seconds = float(entry["upstream_seconds"].split(",")[-1].strip("- ") or 0)
                    paths[entry["asked"]].add(entry["status"], seconds)
            if new.count >= ENOUGH and new.failed > trial.failed * new.count:
                raise ServerError(f"{version} fails: {new}; what serves: {old}")
    if new.count < trial.requests:
        raise ServerError(
            f"expected at least {trial.requests} answers of {version} to judge by, got "
            f"{new.count}; give it more time, or more of the requests"
        )
    if new.failed > trial.failed * new.count:
        raise ServerError(f"{version} fails: {new}; what serves: {old}")
    # Where the old one fails whenever it is asked there is nothing to be slower than.
    fails = old.failed >= ENOUGH and not old.seconds
    if not fails and new.p95 > trial.slower * old.p95 + SLACK_SECONDS:
        raise ServerError(f"{version} is slow: {new}; what serves: {old}")
    say(f"{version} has stood the trial: {new}; what served: {old}")


def _entries(log: TextIO) -> Iterator[dict[str, Any]]:
    """What has been written since the last time."""
    if os.fstat(log.fileno()).st_size < log.tell():  # the gateway has emptied it
        log.seek(0)
    while True:
        start = log.tell()
        line = log.readline()
        if not line.endswith("\n"):  # half of one, or nothing
            log.seek(start)
            return
        yield json.loads(line)
