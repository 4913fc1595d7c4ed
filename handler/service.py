"""What a TorchServe worker runs: it takes a batch of requests and returns a response to each."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import torch

from falconet.native import available_cores
from falconet.native.budget import PIXELS
from falconet.native.decode import Decoded, Encoded
from falconet.native.errors import ImageError

from . import CLASS_HEADER, MODELS, PRECISION, THREADS, answer, explainer, wire
from .classifier import Classifier, Prediction, Rows
from .errors import RequestError, bad_request, request_error
from .fastest import available, load_fastest
from .metrics import Metrics
from .network import can_quantize
from .pillow import quiet_pillow
from .precision import Precision
from .quantization import QuantizationError
from .reading import header, read
from .request import Request
from .server_timing import HEADER, START_HEADER, VERSION_HEADER, ServerTiming
from .trace import tracer

if TYPE_CHECKING:
    from .spans import Trace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PendingImage:
    """An image of the current batch, not yet decoded.

    Attributes:
        request: the index in the batch of the request that it came with.
        name: what a message about it begins with.
        image: the image.
    """

    request: int
    name: str
    image: Encoded | Decoded


# What a request came to: the predictions of each of its images, an explanation, or what is wrong.
Outcome = tuple[Request | None, list[list[Prediction]] | answer.Body | RequestError]


class Service:
    """Loads an archive's model and responds to batches of requests.

    Args:
        context: TorchServe's; names the unpacked archive and holds its ``model-config.yaml``.
    """

    def __init__(self, context: Any) -> None:
        config = context.model_yaml_config
        options = config.get("falconet", {})
        self.max_pixels: int = options.get("max_pixels", PIXELS)
        self.batch_size: int = context.system_properties["batch_size"]
        self.threads: int = options.get("threads") or _threads_per_worker(config.get("maxWorkers"))
        torch.set_num_threads(self.threads)
        quiet_pillow()
        self.classifier = self._load(context, options)
        self._explainer: explainer.Explainer | None = None
        if options.get("explanations", False):
            folder = Path(context.system_properties["model_dir"])
            file = folder / context.manifest["model"]["serializedFile"]
            self._explainer = explainer.Explainer(file, self.classifier)
        wire.install()
        model = context.model_name, str(context.manifest["model"].get("modelVersion", ""))
        self._served = answer.Served(*model, self.classifier.form)
        self._metrics = Metrics(model)
        self._tracer = tracer(model)
        self._trace: Trace | None = None  # of the batch in hand, if there are traces
        self._timing = ServerTiming([])  # likewise
        self._pool = ThreadPoolExecutor(self.threads, "preprocess")
        self._one_large_image = Lock()
        self._rows = self.classifier.batch(self.batch_size)
        # Now, while the worker is not READY yet, rather than on somebody's request.
        self.classifier.warm_up(self.batch_size)
        # Publish the metric of current requests, as 0, before the first request.
        self._metrics.began(0)
        network = self.classifier.network
        logger.info(
            "%s on %s, %d threads, batches up to %d; preprocessing by %s",
            network.precision,
            network.device,
            self.threads,
            self.batch_size,
            self.classifier.preprocess.implementation,
        )

    def _load(self, context: Any, options: Mapping[str, Any]) -> Classifier:
        """The model, in the precision that was asked for if the CPU has it, else the fastest."""
        folder = Path(context.system_properties["model_dir"])
        file = context.manifest["model"]["serializedFile"]
        device = _device(context.system_properties.get("gpu_id"))

        def load(precision: Precision) -> Classifier:
            # Preprocessing has the threads of this pool, an image each: one of its own for each.
            return Classifier(folder, file, 1, precision, device)

        wanted: Any = os.environ.get(PRECISION) or options.get("precision", "auto")
        if wanted not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ValueError(f"{PRECISION}: expected one of {known}, got {wanted!r}")
        if device != "cpu":
            return load("auto" if wanted == "int8" else wanted)
        allowed = available(options.get("precisions", ("bfloat16", "float32")))
        if wanted == "int8":
            try:
                if not can_quantize():
                    raise QuantizationError("this CPU has no instructions for it (AVX512-VNNI)")
                return load("int8")
            except QuantizationError as error:
                logger.warning("int8 is not served, but another precision: %s", error)
                allowed = [each for each in allowed if each != "int8"]
        elif wanted != "auto":
            return load(wanted)
        return load_fastest(load, allowed, folder, self.batch_size)

    def set_torch_threads(self) -> None:
        """Have torch compute with the configured number of threads in the calling thread."""
        torch.set_num_threads(self.threads)  # torch keeps one number for each thread

    def handle(self, batch: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Respond to every request of a batch, each with its own status; raises nothing."""
        began = perf_counter()
        self._metrics.began(len(batch))
        answers, statuses, images = [], [], 0
        starts = (context.get_request_header(i, START_HEADER) for i in range(len(batch)))
        self._timing = ServerTiming(starts)
        try:
            outcomes, images = self._outcomes(batch, context)
        except Exception:  # TorchServe would give it to all of the batch, without a status
            outcomes = [(None, _internal_error("a batch could not be answered"))] * len(batch)
        # The only place where outcomes become responses.
        for i, (request, outcome) in enumerate(outcomes):
            status, (content_type, body) = _response(request, outcome, self._served)
            if status == HTTPStatus.INTERNAL_SERVER_ERROR:
                # What was wrong is above; this is for whoever has the gateway's log.
                request_id = context.get_request_header(i, "X-Request-Id")
                logger.error("request %s failed", request_id or "without an id")
            context.set_response_content_type(i, content_type)
            context.set_response_status(status.value, status.phrase, i)
            context.set_response_header(i, HEADER, self._timing.header(i))
            context.set_response_header(i, VERSION_HEADER, self._served.version)
            statuses.append(status.value)
            answers.append(body)
        # How soon predictions are answered decides how many the gateway lets in.
        seconds = perf_counter() - began - self._timing.total("explain")
        explained = sum(isinstance(outcome, answer.Body) for _, outcome in outcomes)
        self._metrics.answered(statuses, images, seconds, explained)
        trace, self._trace = self._trace, None
        if trace is not None:
            trace.answered(statuses)
        return answers

    def _outcomes(
        self, batch: Sequence[Mapping[str, Any]], context: Any
    ) -> tuple[list[Outcome], int]:
        """What each request came to, and how many images all had."""
        if self._tracer is not None:
            headers = [context.get_all_request_header(i) for i in range(len(batch))]
            self._trace = self._tracer.began(headers)
        requests: list[Request | None] = [None] * len(batch)
        errors: dict[int, RequestError] = {}
        waiting: list[PendingImage] = []
        explanations: list[int] = []
        for i, fields in enumerate(batch):
            try:
                if context.get_request_header(i, "explain") == "True":
                    explanations.append(i)
                    continue
                requests[i] = request = read(fields, context.get_all_request_header(i))
                waiting += self._open(i, request)
            except RequestError as error:
                errors[i] = error
            except Exception:  # a bug, or no memory: this request's alone
                errors[i] = _internal_error("a request could not be read")

        predictions: list[list[list[Prediction]]] = [[] for _ in batch]
        # One pass, but for KServe requests with so many instances that memory has to be bounded.
        for start in range(0, len(waiting), self.batch_size):
            some = waiting[start : start + self.batch_size]
            for item, found in self._predict([w for w in some if w.request not in errors], errors):
                predictions[item.request].append(found)
        outcomes: list[Outcome] = [
            (request, errors.get(i, predictions[i])) for i, request in enumerate(requests)
        ]
        # Last, as they take longest; a batch is answered as a whole.
        left = explainer.SECONDS
        for i in explanations:
            began = perf_counter()
            outcomes[i] = self._explain(i, batch[i], context.get_all_request_header(i), left)
            left -= perf_counter() - began
        return outcomes, len(waiting)

    def _explain(
        self, index: int, fields: Mapping[str, Any], headers: Mapping[str, str], seconds: float
    ) -> Outcome:
        """What a request for an explanation came to, in so many seconds."""
        began = perf_counter()
        request: Request | None = None
        opened: list[PendingImage] = []
        try:
            if self._explainer is None:
                raise RequestError(
                    HTTPStatus.NOT_IMPLEMENTED,
                    "explanations are not available, as the archive was packed without them; pack "
                    "it again with falconet archive --explanations",
                )
            if seconds <= 0:
                raise RequestError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "other explanations have taken the time that there is for them; try again",
                )
            request = read(fields, headers)
            opened = self._open(index, request)
            if len(opened) != 1:
                raise bad_request(f"expected one image to explain, got {len(opened)}")
            pixels = self.classifier.decode(opened[0].image)
            _, label = header(headers, CLASS_HEADER.lower()) or ("", None)
            _, accept = header(headers, "accept") or ("", "")
            return request, self._explainer.explain(pixels, label, began + seconds).body(accept)
        except RequestError as error:
            return request, error
        except ImageError as error:
            return request, _with_image_name(request_error(error), opened[0].name)
        except Exception:  # a bug, no memory, or a network without gradients
            return request, _internal_error("an image could not be explained")
        finally:
            if opened:
                self._took("explain", began, perf_counter(), opened)

    def _open(self, index: int, request: Request) -> list[PendingImage]:
        """The request's images, which share its limit of pixels."""
        opened: list[PendingImage] = []
        left = self.max_pixels
        for i, data in enumerate(request.images()):
            try:
                image = self.classifier.open(data, left)
            except ImageError as error:
                raise _with_image_name(request_error(error), request.name(i)) from error
            left -= image.height * image.width
            opened.append(PendingImage(index, request.name(i), image))
        return opened

    def _predict(
        self, waiting: list[PendingImage], errors: dict[int, RequestError]
    ) -> list[tuple[PendingImage, list[Prediction]]]:
        """What images show. Requests that fail are left out, and noted in ``errors``."""
        rows = self._rows[: len(waiting)]
        row_of_each = [rows[i : i + 1] for i in range(len(waiting))]
        # Decoding and resizing leave the GIL to others. A single image waits for no thread.
        run = self._pool.map if len(waiting) > 1 and self.threads > 1 else map
        failed = list(run(self._prepare, waiting, row_of_each))
        for item, error in zip(waiting, failed, strict=True):
            if error is not None:
                errors.setdefault(item.request, error)
        good = [i for i, item in enumerate(waiting) if item.request not in errors]
        if len(good) < len(waiting):
            rows = rows[good]
        return self._predict_rows([waiting[i] for i in good], rows, errors)

    def _prepare(self, item: PendingImage, row: Rows) -> RequestError | None:
        """Decode and preprocess an image into its row of the batch, or say what is wrong."""
        try:
            with self._limit_decoded_memory(item.image):
                began = perf_counter()
                pixels = self.classifier.decode(item.image)
                decoded = perf_counter()
                self.classifier.prepare([pixels], row)
            self._took("decode", began, decoded, [item])
            self._took("preprocess", decoded, perf_counter(), [item])
        except ImageError as error:
            return _with_image_name(request_error(error), item.name)
        except Exception:  # a bug, or no memory: this request's alone
            return _internal_error("a request could not be read")
        return None

    @contextmanager
    def _limit_decoded_memory(self, image: Encoded | Decoded) -> Iterator[None]:
        """Wait for memory: all decoded images together have at most twice ``max_pixels``."""
        if image.height * image.width <= self.max_pixels // self.threads:
            yield
        else:
            with self._one_large_image:
                yield

    def _predict_rows(
        self, items: list[PendingImage], rows: Rows, errors: dict[int, RequestError]
    ) -> list[tuple[PendingImage, list[Prediction]]]:
        """Predict images together; if that fails, each by itself."""
        try:
            began = perf_counter()
            found = self.classifier.predict(rows)
            self._took("inference", began, perf_counter(), items)
            return list(zip(items, found, strict=True))
        except Exception:
            if len(items) == 1:
                errors[items[0].request] = _internal_error("a request could not be predicted")
                return []
            each = (
                self._predict_rows([item], rows[i : i + 1], errors) for i, item in enumerate(items)
            )
            return [pair for alone in each for pair in alone]

    def _took(self, stage: str, began: float, ended: float, items: Sequence[PendingImage]) -> None:
        """Count, and trace, the time that a stage of these images took."""
        self._metrics.took(stage, ended - began)
        requests = [item.request for item in items]
        self._timing.add(stage, ended - began, requests)
        if self._trace is not None:
            self._trace.took(stage, began, ended, requests)


def _threads_per_worker(workers: int | None) -> int:
    """Threads of a worker, whose archive may say how many workers there are."""
    if workers is not None:
        return max(1, available_cores() // (workers * int(os.environ.get(MODELS, 1))))
    # Without either TorchServe starts a worker for each core.
    return int(os.environ.get(THREADS, 1))


def _device(gpu: int | None) -> str:
    """What torch calls the device that TorchServe gives a worker: a GPU's number, or nothing."""
    return "cpu" if gpu is None or not torch.cuda.is_available() else f"cuda:{gpu}"


def _response(
    request: Request | None,
    outcome: list[list[Prediction]] | answer.Body | RequestError,
    served: answer.Served,
) -> tuple[HTTPStatus, answer.Body]:
    """Status and body of an answer."""
    if isinstance(outcome, answer.Body):
        return HTTPStatus.OK, outcome
    if not isinstance(outcome, RequestError):
        try:
            assert request is not None
            return HTTPStatus.OK, answer.body(request.success(outcome, served))
        except Exception:
            outcome = _internal_error("a request could not be answered")
    failure = answer.failure if request is None else request.failure
    return outcome.status, answer.body(failure(outcome))


def _with_image_name(error: RequestError, name: str) -> RequestError:
    """The error with what its image is called, where a request may have several."""
    return RequestError(error.status, name + error.message)


def _internal_error(what: str) -> RequestError:
    """Log the exception that is being handled, and keep it to ourselves."""
    logger.exception(what)
    return RequestError(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"{what}; the server's model log says why"
    )
