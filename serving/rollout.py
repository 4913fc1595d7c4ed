"""A model's version, or a model, on one server or many: on all of them, or on none."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from .deployment import Deployment, Say
from .errors import ServerError
from .package import Package
from .record import Record, Release, lock_models
from .routes import Routes
from .server import Server
from .store import identify


def deploy(servers: Sequence[Server], archive: Path, say: Say = lambda _: None) -> Release:
    """Replace the current version of an archive's model on servers, without a failed request.

    Adds the model if the servers do not have it.

    Returns:
        the current version.

    Raises:
        ServerError: the archive is invalid, or on a server there is not enough memory for its
            model, or it does not start, or its predictions differ from those in the archive; then
            the current version is unchanged everywhere, and the new one is removed. Or a server
            does not respond: then the next deploy or rollback completes or reverts the change.
    """
    package = Package.verify(archive)
    with _lock_servers(servers, package.model, say) as deployments:
        records = [each.recover() for each in deployments]
        release = identify(archive)
        targets = [
            deployment
            for deployment, record in zip(deployments, records, strict=True)
            if record is None or record.serving != release
        ]
        if not targets:
            say(f"{package.model} {package.version} is already the current version")
            return release
        say(f"checked {archive.name}: {release.file}")
        with all_or_none(targets) as switch:
            _on_each(targets, lambda each: each.prepare(release, package, archive, "deploy"))
            switch()
        _on_each(targets, Deployment.drain)
        return release


def rollback(
    servers: Sequence[Server], model: str, say: Say = lambda _: None, to: str | None = None
) -> Release:
    """Replace the current version with an earlier one, as :func:`deploy` does.

    Repeated after an interruption, it completes that rollback and goes back no further.

    Args:
        servers: that run.
        model: its name.
        say: called with the text of each step.
        to: an earlier version, or a later one after a rollback; by default the previous one.

    Raises:
        ServerError: there is no such version, or the servers have different ones; or as
            :func:`deploy`.
    """
    with _lock_servers(servers, model, say) as deployments:
        before = [each.record() for each in deployments]
        records = [each.recover() or each.record() for each in deployments]
        # One that was interrupted is finished, on all servers, and is not begun again.
        finished = [
            after.serving
            for was, after in zip(before, records, strict=True)
            if was.purpose == "rollback"
            and (was.leaving is not None or was.coming == after.serving)
        ]
        if to is None and finished:
            to = finished[0].version
        goals = [
            next(iter(each.earlier), None) if to is None else each.served(to) for each in records
        ]
        release = goals[0]
        if release is None or None in goals:
            if to is None:
                raise ServerError(f"{model}: there is no previous version to roll back to")
            raise ServerError(
                f"{model}: version {to} is not kept; to serve it, use: falconet deploy"
            )
        targets = [
            deployment
            for deployment, record in zip(deployments, records, strict=True)
            if record.serving != release
        ]
        if any(goal != release for goal in goals):
            found = ", ".join(sorted({goal.file for goal in goals if goal is not None}))
            raise ServerError(
                f"{model}: the servers have different target versions ({found}); use falconet "
                "deploy with one archive on all servers"
            )
        with all_or_none(targets) as switch:
            _on_each(targets, lambda each: _prepare_again(each, release))
            switch()
        _on_each(targets, Deployment.drain)
        return release


def undeploy(servers: Sequence[Server], model: str, say: Say = lambda _: None) -> None:
    """Remove a model from servers when it has finished its requests.

    The gateway first stops passing requests on. Repeated after an interruption, it completes that.

    Raises:
        ServerError: no server has such a model, it is the last one of a server, or the one that its
            gateway asks by default: then nothing is changed. Or as
            :meth:`.Deployment.remove_model`.
    """
    with _lock_servers(servers, model, say) as deployments:
        found = [each for each in deployments if each.find_record() is not None]
        if not found:
            deployments[0].record()
        for server in (each.server for each in found):
            if not [other for other in server.models if other != model]:
                raise ServerError(
                    f"{model} is the only model with {server.folder}; deploy another one first, or "
                    "stop the server with: falconet stop"
                )
            routes = Routes.load(server.gateway)
            if routes is not None and routes.default == model:
                raise ServerError(
                    f"{model} is the default model of the gateway with {server.folder}; restart "
                    "the gateway with another --default first"
                )
        left = [each for each in found if each.recover() is not None]
        _on_each(left, Deployment.remove_model)


@contextlib.contextmanager
def _lock_servers(servers: Sequence[Server], model: str, say: Say) -> Iterator[list[Deployment]]:
    """Hold the locks for changes of the models of all these servers."""

    def named(server: Server) -> Say:
        return say if len(servers) == 1 else lambda step: say(f"{server.folder}: {step}")

    with contextlib.ExitStack() as locks:
        for server in servers:
            locks.enter_context(lock_models(server.folder))
        yield [Deployment(server, model, named(server)) for server in servers]


@contextlib.contextmanager
def all_or_none(deployments: Sequence[Deployment]) -> Iterator[Callable[[], None]]:
    """Gives what switches all of them; if anything fails, none is switched or has what comes."""
    switched: list[tuple[Deployment, Record]] = []

    def switch() -> None:
        for deployment in deployments:
            switched.append((deployment, deployment.record()))
            deployment.switch()

    try:
        yield switch
    except BaseException:
        for deployment, before in switched:
            deployment.try_to(partial(deployment.revert_switch, before))
        for deployment in deployments[len(switched) :]:
            deployment.try_to(deployment.undo)
        raise


def _prepare_again(deployment: Deployment, release: Release) -> None:
    """From the copy that the server kept."""
    path = deployment.server.store / release.file
    package = Package.verify(path)
    if identify(path) != release:
        raise ServerError(f"{path}: has changed since it was deployed")
    deployment.prepare(release, package, path, "rollback")


def _on_each(deployments: Sequence[Deployment], step: Callable[[Deployment], None]) -> None:
    """A step on all servers at a time; once it is over on all, the first error is raised.

    Interrupted, it is given up on all of them, and over when this returns.
    """
    with ThreadPoolExecutor(max(1, len(deployments))) as pool:
        done = [pool.submit(step, each) for each in deployments]
        try:
            wait(done)
        except BaseException:
            for each in deployments:
                each.interrupted.set()
            wait(done)
            for each in deployments:
                each.interrupted.clear()
            raise
    for future in done:
        future.result()
