"""TorchServe's management, metrics and prediction interfaces, in this process and without workers.

For the many branches of a deploy. A version that is registered is ready at once; its archive's own
model answers. That the real TorchServe behaves so is shown by a test of each promise with it.
"""

import json
import re
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from falconet.handler import BEGUN, REQUESTS
from falconet.handler.classifier import Classifier
from falconet.native.decode import Encoded
from falconet.serving.logs import SERVER_LOG, WORKER_DIED
from falconet.serving.ports import Ports
from falconet.serving.record import write
from falconet.serving.server import Server
from falconet.serving.store import FOLDER, archives_to_serve, prune

RESPONSE_TIMEOUT = 60  # seconds
WORKER = {"id": "9000", "status": "READY", "pid": -1}


class Versions:
    """The registered versions of one model.

    Attributes:
        default: the one that answers requests that name none.
        classifiers: of each version.
        answered: how many requests each of them has.
        workers: how many of each there are said to be.
    """

    def __init__(self) -> None:
        self.default = ""
        self.classifiers: dict[str, Classifier] = {}
        self.answered: dict[str, int] = {}
        self.workers: dict[str, int] = {}


class Interfaces:
    """One HTTP server for all three of them.

    Attributes:
        models: by name.
        dying: versions whose workers die while they load the model.
    """

    def __init__(self, store: Path) -> None:
        self.models: dict[str, Versions] = {}
        self.dying: set[str] = set()
        self.running = True
        self._store = store
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                try:
                    with outer._lock:
                        found = outer.answer(self.command, url.path, query, body)
                    status, content = 200, found
                except KeyError as error:
                    status, content = 404, {"code": 404, "message": str(error)}
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """What TorchServe answers; a ``KeyError`` is a 404."""
        if path == "/metrics":
            return self._metrics()
        if path == "/models":
            if method == "POST":
                workers = int(query["initial_workers"])
                return self.register(query["url"], query["model_name"], workers)
            return {"models": [{"modelName": name} for name in self.models]}
        if found := re.fullmatch(r"/predictions/([^/]+)(?:/([^/]+))?", path):
            return self._predict(found[1], found[2], body)
        found = re.fullmatch(r"/models/([^/]+)(?:/([^/]+))?(/set-default)?", path)
        assert found, path
        model, version = self.models[found[1]], found[2]
        if method == "DELETE":
            del model.classifiers[version]
            if not model.classifiers:
                del self.models[found[1]]
                return {}
            assert version != model.default, "TorchServe keeps the default version"
            return {}
        if method == "PUT" and version is None:
            model.workers[model.default] = int(query["min_worker"])
            return {}
        if method == "PUT":
            assert model.classifiers[version]
            model.default = version
            return {}
        names = list(model.classifiers) if version == "all" else [version or model.default]
        return [self._describe(found[1], name) for name in names]

    def register(self, file: str, name: str, workers: int = 1) -> Any:
        """Unpack an archive of the store; a model's first version becomes its default."""
        with zipfile.ZipFile(self._store / file) as mar:
            version = json.loads(mar.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
            with tempfile.TemporaryDirectory() as folder:
                mar.extractall(folder)
                classifier = Classifier(Path(folder), threads=1, precision="float32")
        model = self.models.setdefault(name, Versions())
        assert not any(float(each) == float(version) for each in model.classifiers)
        model.classifiers[version] = classifier
        model.answered[version] = 0
        model.workers[version] = workers
        model.default = model.default or version
        if version in self.dying:
            logs = self._store.parent / "logs"
            logs.mkdir(exist_ok=True)
            with (logs / SERVER_LOG).open("a") as log:
                log.write(f"2026 [INFO ] W-9000-{name}_{version} o.p.s.w.WorkerThread - ")
                log.write(f"{WORKER_DIED}\n")
        return {}

    def _describe(self, name: str, version: str) -> dict[str, Any]:
        model = self.models[name]
        assert model.classifiers[version]
        return {
            "modelName": name,
            "modelVersion": version,
            "minWorkers": 1,
            "maxBatchDelay": 1,
            "responseTimeout": RESPONSE_TIMEOUT,
            "workers": [] if version in self.dying else model.workers[version] * [WORKER],
            "jobQueueStatus": {"pendingRequests": 0},
        }

    def _metrics(self) -> str:
        return "".join(
            f'{name}{{model_name="{model}",model_version="{version}"}} {count}\n'
            for model, versions in self.models.items()
            for version, count in versions.answered.items()
            for name in (BEGUN, REQUESTS)
        )

    def _predict(self, name: str, version: str | None, body: bytes) -> Any:
        model = self.models[name]
        version = version or model.default
        _, length = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        pixels = Encoded(body[length + 4 :], 10**6).decode()
        best = model.classifiers[version].classify([pixels])[0][0]
        model.answered[version] += 1
        outputs = {"label": best.label, "probability": best.probability}
        return {
            "model_name": name,
            "model_version": version,
            "outputs": [
                {"name": output, "shape": [1, 1], "data": [each]}
                for output, each in outputs.items()
            ],
        }


@dataclass(frozen=True)
class StandIn(Server):
    """A server of which there is no process."""

    interfaces: Interfaces = field(kw_only=True, compare=False, repr=False)

    @classmethod
    def begin(cls, archives: Sequence[Path], folder: Path) -> "StandIn":
        """As :meth:`Server.start`, with what the folder's record says is to be served."""
        folder.mkdir(parents=True, exist_ok=True)
        content = archives_to_serve(folder, archives)
        write(folder, *content)
        prune(folder)
        interfaces = Interfaces(folder / FOLDER)
        for model, record in content.models.items():
            interfaces.register(record.serving.file, model)
        ports = Ports(*(3 * [interfaces.port]), grpc_inference=0, grpc_management=0)
        return cls(folder, 4, ports, 0, folder, interfaces=interfaces)

    def running(self) -> bool:
        return self.interfaces.running

    def stop(self) -> None:
        self.interfaces.stop()
