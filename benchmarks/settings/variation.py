"""Settings of the server, each changed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from falconet.model.archive import Serving
from falconet.serving.configuration import Configuration


@dataclass(frozen=True)
class Variation:
    """One change of what we ship.

    Attributes:
        name: what is changed, and to what.
        why: what speaks for it.
        properties: lines of config.properties, by key; ``None`` leaves a line out.
        vmargs: parts of ``vmargs``, and what stands in their place; nothing takes them out.
        serving: fields of the archive's :class:`Serving`.
        environment: of the server.
        own_logging: whether TorchServe logs as it does by itself.
    """

    name: str
    why: str
    properties: Mapping[str, str | None] = field(default_factory=dict)
    vmargs: Mapping[str, str] = field(default_factory=dict)
    serving: Mapping[str, int | str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    own_logging: bool = False

    def apply(self, configuration: Configuration) -> Configuration:
        """The configuration with this change.

        Raises:
            ValueError: a part of ``vmargs`` is not there to be replaced.
        """
        properties = dict(self.properties)
        if self.vmargs:
            properties["vmargs"] = self._vmargs(configuration)
        return replace(
            configuration.changed(properties),
            logging=None if self.own_logging else configuration.logging,
            environment={**configuration.environment, **self.environment},
        )

    def _vmargs(self, configuration: Configuration) -> str:
        (line,) = (each for each in configuration.lines if each.startswith("vmargs="))
        parts = line.removeprefix("vmargs=").split()
        for part, other in self.vmargs.items():
            if part not in parts:
                raise ValueError(f"vmargs: expected {part} among them, got {' '.join(parts)}")
            parts[parts.index(part)] = other
        return " ".join(filter(None, parts))

    def served(self) -> Serving:
        return replace(Serving(), **self.serving)  # type: ignore[arg-type]


POOL = "-Djava.util.concurrent.ForkJoinPool.common.parallelism=2"
ASYNCHRONOUS = (
    "-Dlog4j2.contextSelector=org.apache.logging.log4j.core.async.AsyncLoggerContextSelector"
)
HEAP = "-Xmx512m"  # of the profile for a small machine

VARIATIONS: Sequence[Variation] = (
    Variation("nothing", "control: two equal servers"),
    Variation("TorchServe's own logging", "fewer files in this project", own_logging=True),
    Variation("synchronous logging", "no thread for logging", vmargs={ASYNCHRONOUS: ""}),
    Variation("metrics_mode=log", "the default", {"metrics_mode": "log"}),
    Variation("disable_system_metrics=false", "the default", {"disable_system_metrics": "false"}),
    Variation("number_of_netty_threads not set", "the default, two per core",
              {"number_of_netty_threads": None}),
    Variation("number_of_netty_threads=2", "one per core", {"number_of_netty_threads": "2"}),
    Variation("netty_client_threads=1", "one worker's connection", {"netty_client_threads": "1"}),
    Variation("use_native_io=false", "without epoll and Unix sockets", {"use_native_io": "false"}),
    Variation("prefer_direct_buffer=true", "no copy in the heap", {"prefer_direct_buffer": "true"}),
    Variation("decode_input_request=true", "the default", {"decode_input_request": None}),
    Variation("ForkJoinPool parallelism not set", "the default: on two cores, one thread per batch",
              vmargs={POOL: ""}),
    Variation("ParallelGC", "fewer barriers", vmargs={HEAP: f"{HEAP} -XX:+UseParallelGC"}),
    Variation("SerialGC", "no extra threads", vmargs={HEAP: f"{HEAP} -XX:+UseSerialGC"}),
    Variation("G1GC", "the default on larger machines", vmargs={HEAP: f"{HEAP} -XX:+UseG1GC"}),
    Variation("heap of 256 MB", "less memory", vmargs={HEAP: "-Xmx256m"}),
    Variation("one worker of two threads", "a batch takes less time",
              serving={"workers": 1, "threads": 2}),
    Variation("one worker of one thread", "leaves a core to Java",
              serving={"workers": 1, "threads": 1}),
    Variation("two workers of two threads", "more threads than cores",
              serving={"workers": 2, "threads": 2}),
    Variation("batches of 1", "TorchServe's default", serving={"batch_size": 1}),
    Variation("batches of 8", "shorter batches", serving={"batch_size": 8}),
    Variation("batches of 32", "more work per batch", serving={"batch_size": 32}),
    Variation("a delay of 2 ms", "fuller batches", serving={"max_batch_delay": 2}),
    Variation("a delay of 5 ms", "fuller batches", serving={"max_batch_delay": 5}),
    Variation("a delay of 100 ms", "TorchServe's default", serving={"max_batch_delay": 100}),
    Variation("float32", "full precision", serving={"precision": "float32"}),
    Variation("GOMP_SPINCOUNT=0", "waiting threads sleep at once",
              environment={"GOMP_SPINCOUNT": "0"}),
    Variation("MALLOC_ARENA_MAX=2", "less memory", environment={"MALLOC_ARENA_MAX": "2"}),
)  # fmt: skip
