"""falconet doctor"""

import json
import platform
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from falconet.native import available_cores
from falconet.serving.configuration import Configuration
from falconet.serving.errors import ServerError
from falconet.serving.gateway import find_nginx
from falconet.serving.java import find_java, java_version
from falconet.serving.memory import MB, WORKER, available_memory
from falconet.serving.ports import HOST
from falconet.serving.profile import Profile, count_gpus

GATEWAY_PORTS = {"gateway": 8443, "gateway metrics": 8083}


class Finding(NamedTuple):
    """What was found of one thing.

    Attributes:
        name: of the thing.
        value: what there is.
        problem: what does not work without it, and what to do; empty if all is well.
        needed: whether ``falconet serve`` fails because of the problem.
    """

    name: str
    value: str
    problem: str = ""
    needed: bool = False


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Shows what this machine has, and what `falconet serve` would choose on it.

    The exit status is 1 if something is missing that `falconet serve` needs.
    """
    found = list(findings())
    if as_json:
        click.echo(json.dumps([each._asdict() for each in found], indent=2))
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for each in found:
            mark, style = ("ok", "green") if not each.problem else ("!", "yellow")
            if each.needed:
                mark, style = "missing", "red"
            table.add_row(Text(mark, style=style), each.name, Text(each.value))
            if each.problem:
                table.add_row("", "", Text(each.problem, style=style))
        Console().print(table)
    if any(each.needed for each in found):
        raise click.exceptions.Exit(1)


def findings() -> Iterator[Finding]:
    """One thing after the other."""
    yield Finding("Falconet", metadata.version("falconet"))
    yield Finding("Python", f"{platform.python_version()}, {platform.machine()}")
    yield from _torch()
    yield _java()
    yield _nginx()
    cores = available_cores()
    yield Finding("CPU cores", f"{cores}, with the quota of a container")
    memory = available_memory()
    yield Finding("free memory", f"{memory / MB:,.0f} MB")
    try:
        gpus = count_gpus()
        yield Finding("GPUs", str(gpus))
    except ServerError as error:
        gpus = 0
        yield Finding("GPUs", "unknown", str(error))
    yield _profile(cores, gpus, memory)
    yield from _ports()


def _torch() -> Iterator[Finding]:
    """PyTorch, and what it can do on this CPU."""
    from falconet.handler.fastest import available
    from falconet.native import Preprocessor

    yield Finding("PyTorch", metadata.version("torch"))
    yield Finding("preprocessing", f"C++ for {Preprocessor((8, 8)).implementation}")
    precisions = available(("int8", "bfloat16", "float32"))
    slower = ""
    if "int8" not in precisions:
        slower = "int8 needs a CPU with AVX512-VNNI; archives are served in another precision here"
    yield Finding("fast precisions", ", ".join(precisions), slower)


def _java() -> Finding:
    try:
        home = find_java()
    except ServerError as error:
        return Finding("Java", "none", str(error), needed=True)
    return Finding("Java", f"{java_version(home / 'bin' / 'java')} in {home}")


def _nginx() -> Finding:
    try:
        return Finding("nginx", find_nginx())
    except ServerError as error:
        return Finding("nginx", "none", f"falconet gateway and falconet up need it: {error}")


def _profile(cores: int, gpus: int, memory: int) -> Finding:
    """What ``falconet serve`` takes for one model whose archive does not say."""
    chosen = Profile.choose("auto", cores, gpus)
    fit = max(0, (memory - (chosen.heap << 20)) // WORKER)
    workers = min(chosen.workers, fit)
    value = (
        f"{chosen.name}: {workers} workers with {chosen.threads} "
        f"{'thread' if chosen.threads == 1 else 'threads'}, {chosen.heap} MB of heap for Java"
    )
    if not workers:
        needs = (WORKER + (chosen.heap << 20)) / MB
        return Finding("profile", value, f"one worker and Java need {needs:,.0f} MB", needed=True)
    if workers < chosen.workers:
        return Finding("profile", value, f"with more memory: {chosen.workers} workers")
    return Finding("profile", value)


def _ports() -> Iterator[Finding]:
    """Those that are used where no option says otherwise."""
    ports = Configuration.load().ports
    usual = {
        "inference": ports.inference,
        "management": ports.management,
        "metrics": ports.metrics,
        **GATEWAY_PORTS,
    }
    taken = [f"{name} {port}" for name, port in usual.items() if not _is_free(port)]
    value = ", ".join(f"{name} {port}" for name, port in usual.items())
    problem = f"in use: {', '.join(taken)}; falconet status shows a server that runs"
    yield Finding("ports", value, problem if taken else "")


def _is_free(port: int) -> bool:
    with socket.socket() as listener, suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        return True
    return False
