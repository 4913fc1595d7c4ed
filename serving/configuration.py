"""TorchServe's config.properties, with other ports."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from falconet.handler import THREADS

from .errors import ServerError
from .ports import HOST, Ports, free_ports
from .profile import Profile

FILE_NAME = "config.properties"
# Ours: beside this file where it is installed, at the top in a checkout.
_INSTALLED = Path(__file__).with_name(FILE_NAME)
DEFAULT = _INSTALLED if _INSTALLED.exists() else Path(__file__).parent.parent / FILE_NAME

# Of the programs that are run: TorchServe's logging and metrics here, nginx's in gateway.py.
CONF = Path(__file__).with_name("conf")
LOGGING = CONF / "log4j2.xml"
METRICS = CONF / "metrics.yaml"

_KEYS = {
    "inference": "inference_address",
    "management": "management_address",
    "metrics": "metrics_address",
    "grpc_inference": "grpc_inference_port",
    "grpc_management": "grpc_management_port",
}

WORKERS = "default_workers_per_model"
_HEAP = re.compile(r"-Xmx(\d+)([kmg]?)", re.IGNORECASE)

# Where TorchServe listens if the file does not say.
_USUAL = asdict(Ports(8080, 8081, 8082, 7070, 7071))


def _key(line: str) -> str:
    """The key that a line sets; empty for a comment."""
    return "" if line.startswith("#") else line.partition("=")[0].strip()


def _values(lines: Iterable[str]) -> dict[str, str]:
    """What lines set, by key."""
    return {_key(line): line.partition("=")[2].strip() for line in lines}


@dataclass(frozen=True)
class Configuration:
    """The lines of a properties file, the ports that replace those it names, and what is logged.

    Attributes:
        lines: of ``config.properties``.
        ports: where to listen.
        logging: a ``log4j2.xml``; with ``None`` TorchServe logs as it does by itself.
        environment: of the server, beside what it inherits.
    """

    lines: tuple[str, ...]
    ports: Ports
    logging: Path | None = LOGGING
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        path: Path = DEFAULT,
        inference: int | None = None,
        management: int | None = None,
        metrics: int | None = None,
    ) -> "Configuration":
        """Read a properties file and choose ports.

        Args:
            path: the file.
            inference, management, metrics: ``None`` takes the port in the file, 0 any free one.
                Where one of them is given, gRPC moves to free ports too, so that a second server
                needs no more than its own three.

        Raises:
            ServerError: there is no such file.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise ServerError(f"no configuration at {path}") from None
        values = _values(lines)
        chosen = {"inference": inference, "management": management, "metrics": metrics}
        if any(port is not None for port in chosen.values()):
            chosen |= {"grpc_inference": 0, "grpc_management": 0}
        free = iter(free_ports(len(_KEYS)))
        ports = {}
        for name, key in _KEYS.items():
            port = chosen.get(name)
            if port is None:
                port = int(values.get(key, "").rpartition(":")[2] or _USUAL[name])
            ports[name] = port or next(free)
        return cls(tuple(lines), Ports(**ports))

    def fit(self, profile: Profile) -> "Configuration":
        """What the lines leave open, as a profile says."""
        values = _values(self.lines)
        vmargs = values.get("vmargs", "")
        properties = {k: v for k, v in profile.properties().items() if k not in values}
        if "-Xmx" not in vmargs:
            properties["vmargs"] = f"-Xmx{profile.heap}m {vmargs}".strip()
        environment = {THREADS: str(profile.threads), **self.environment}
        return replace(self.changed(properties), environment=environment)

    @property
    def workers(self) -> int | None:
        """How many each model gets whose archive does not say; ``None`` where no line does."""
        stated = _values(self.lines).get(WORKERS)
        return None if stated is None else int(stated)

    @property
    def heap(self) -> int:
        """Bytes that Java may take for it; 0 where no line says how many."""
        found = _HEAP.search(_values(self.lines).get("vmargs", ""))
        return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2].lower()] if found else 0

    def changed(self, properties: Mapping[str, str | None]) -> "Configuration":
        """With other values for some keys; ``None`` leaves a key out."""
        lines = [line for line in self.lines if _key(line) not in properties]
        lines += [f"{key}={value}" for key, value in properties.items() if value is not None]
        return replace(self, lines=tuple(lines))

    def write(self, folder: Path) -> Path:
        """Write the file that a server is started with.

        What it serves is said on its command line, and so left out here. Which metrics there are is
        said here, if the lines do not.
        """
        ours = {*_KEYS.values(), "model_store", "load_models"}
        kept = [line for line in self.lines if _key(line) not in ours]
        own = [
            f"{_KEYS[name]}={port if name.startswith('grpc') else f'http://{HOST}:{port}'}"
            for name, port in asdict(self.ports).items()
        ]
        if not any(_key(line) == "metrics_config" for line in kept):
            own.append(f"metrics_config={METRICS.resolve()}")
        path = folder / FILE_NAME
        path.write_text("\n".join([*kept, "", *own, ""]), encoding="utf-8")
        return path
