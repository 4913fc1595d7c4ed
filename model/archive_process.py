"""An archive's own handler in a process of its own, loaded and asked as TorchServe's workers do."""

import contextlib
import importlib.util
import json
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from .archive import MANIFEST

# Seconds for a model to load, and for a request.
LOAD_SECONDS, ANSWER_SECONDS = 300, 120
# As the handler of falconet.handler reads it.
THREADS = "FALCONET_THREADS"


class ArchiveProcessError(RuntimeError):
    """The archive's own code failed; the message is what it said."""


class Answer(NamedTuple):
    """What a handler answered.

    Attributes:
        status: of HTTP; 503 where the handler raised an exception, as TorchServe answers then.
        content: of the body's JSON; of an exception its text.
        seconds: that it took.
    """

    status: int
    content: Any
    seconds: float


class ArchiveProcess:
    """Runs an unpacked archive's handler; a context manager that ends it.

    Args:
        folder: the unpacked archive.
        threads: that the handler may compute with.

    Raises:
        ArchiveProcessError: the handler cannot be loaded.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        # Spawned: somebody's code runs there, and nothing that it changes is ours.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, str(folder.resolve()), threads)
        )
        self._process.start()
        theirs.close()
        try:
            self._answer(LOAD_SECONDS)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ArchiveProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def describe(self, size: tuple[int, int] | None, script: Path) -> dict[str, Any]:
        """What a handler derived from TorchServe's ``VisionHandler`` does.

        Args:
            size: ``(height, width)``, for a handler that does not resize.
            script: where its network is written to as TorchScript.

        Raises:
            ArchiveProcessError: it is no such handler, or does what a spec cannot state.
        """
        self._send({"describe": {"size": size, "script": str(script)}})
        found: dict[str, Any] = self._answer(ANSWER_SECONDS)
        return found

    def ask(self, files: Sequence[bytes]) -> list[Answer]:
        """Each file as a request of its own."""
        self._send({"files": len(files)})
        for file in files:
            self._connection.send_bytes(file)
        return [Answer(*self._answer(ANSWER_SECONDS)) for _ in files]

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def _answer(self, seconds: float) -> Any:
        """JSON, as nothing that such a process says is to be unpickled."""
        try:
            if not self._connection.poll(seconds):
                raise ArchiveProcessError(f"the archive's handler took more than {seconds} s")
            found = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise ArchiveProcessError("the archive's handler ended its process") from error
        if "error" in found:
            raise ArchiveProcessError(found["error"])
        return found["answer"]


def _serve(connection: Connection, folder: str, threads: int) -> None:
    """What the process does until its other end is closed."""

    def say(answer: Any) -> None:
        connection.send_bytes(json.dumps({"answer": answer}).encode())

    def fail(error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}"
        connection.send_bytes(json.dumps({"error": text}).encode())

    os.environ[THREADS] = str(threads)
    # What somebody's handler prints is not the output of whoever asks it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        service = _load(Path(folder), threads)
    except Exception as error:
        fail(error)
        return
    say(None)
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = json.loads(connection.recv_bytes())
            if "describe" in message:
                try:
                    say(_described(service, **message["describe"]))
                except Exception as error:
                    fail(error)
                continue
            for file in [connection.recv_bytes() for _ in range(message["files"])]:
                began = time.perf_counter()
                status, content = _answered(service, file)
                say(Answer(status, content, time.perf_counter() - began))


def _load(folder: Path, threads: int) -> Any:
    """TorchServe's service around the archive's handler."""
    import torch
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import ModelLoaderFactory

    if importlib.util.find_spec("captum") is None:
        # TorchServe's vision handlers import it, for explanations alone.
        captum, attr = types.ModuleType("captum"), types.ModuleType("captum.attr")
        attr.IntegratedGradients = lambda _: None  # type: ignore[attr-defined]
        sys.modules.update({"captum": captum, "captum.attr": attr})
    torch.set_num_threads(threads)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    manifest = json.loads((folder / MANIFEST).read_text())
    metrics = MetricsCacheYamlImpl(
        config_file_path=str(Path(ts.__file__).with_name("configs") / "metrics.yaml")
    )
    metrics.initialize_cache()
    return ModelLoaderFactory.get_model_loader().load(
        manifest["model"]["modelName"],
        str(folder),
        manifest["model"]["handler"],
        batch_size=1,
        metrics_cache=metrics,
    )


def _answered(service: Any, file: bytes) -> tuple[int, Any]:
    from ts.context import RequestProcessor

    context = service.context
    context.request_ids = {0: "0"}
    context.request_processor = [RequestProcessor({})]
    context.metrics.request_ids = context.request_ids
    try:
        (found,) = service._entry_point([{"body": bytearray(file)}], context)
        content = json.loads(found) if isinstance(found, bytes) else found
        json.dumps(content)
    except Exception as error:
        # Of TorchScript's, whose last line says what is wrong.
        return 503, f"{type(error).__name__}: {_last_line(error)}"
    status, _ = context.get_response_status(0)
    return status or 200, content


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


def _described(service: Any, size: list[int] | None, script: str) -> dict[str, Any]:
    import torch
    from torchvision import transforms

    from falconet.native.from_torchvision import arguments

    from .export import write_script

    handler: Any = getattr(service._entry_point, "__self__", None)
    if not hasattr(handler, "image_processing") or not isinstance(handler.model, torch.nn.Module):
        raise ValueError(
            "expected TorchServe's image_classifier, or a handler derived from it, with a network "
            "of PyTorch"
        )
    transform = handler.image_processing
    if size is not None:
        transform = transforms.Compose([transforms.Resize(size), *transform.transforms])
    stated = arguments(transform)
    shape = (len(stated["mean"]), *stated["size"])
    with torch.inference_mode():
        example = torch.randn(2, *shape)
        outputs = handler.model(example).shape[1:].numel()
        if isinstance(handler.model, torch.jit.ScriptModule):
            handler.model.save(script)
        else:
            write_script(handler.model, example, Path(script))
    return {
        "arguments": stated,
        "outputs": outputs,
        "top_k": getattr(handler, "topk", 1),
        "labels": handler.mapping,
    }
