"""A TorchScript model in the form that is fastest on this machine."""

import logging
import warnings
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from .graph import forbid_tf32, plain_additions, simplify
from .packing import can_pack, convolutions, input_sizes, pack
from .precision import Precision
from .quantization import FILE_NAME, Quantization, QuantizationError
from .quantizing import quantize

logger = logging.getLogger(__name__)


class Network:
    """A classifier that has been frozen, with its weights laid out as its convolutions want them.

    Args:
        path: a TorchScript file. It takes ``(N, C, height, width)`` and returns ``(N, classes)``
            logits.
        precision: ``"float32"``; ``"bfloat16"``, to two or three digits; ``"int8"`` by a
            quantization; ``"auto"`` for float16 on a GPU, and for bfloat16 on a CPU that has
            instructions for it, else float32.
        device: ``"cpu"``, or a GPU such as ``"cuda:0"``.
        image: channels, height and width of images, for which filters are put in oneDNN's own
            order on a CPU; ``None`` leaves them as they are.
        quantization: which layers compute in 8-bit integers, with ``"int8"``.

    Attributes:
        device: where it runs.
        precision: what it computes in: one of :data:`Precision` but ``"auto"``, or ``"float16"``.
        dtype: what it takes, and what layers that are not quantized compute in.
        packed: how many convolutions have their filters in oneDNN's own order.

    Raises:
        ValueError: no such precision, or int8 without a quantization that fits the model.
    """

    def __init__(
        self,
        path: Path,
        precision: Precision = "auto",
        device: str = "cpu",
        image: tuple[int, int, int] | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(
                f"precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}"
            )
        if precision == "int8" and quantization is None:
            raise QuantizationError(
                f"int8 needs {FILE_NAME}, which falconet archive --calibrate makes"
            )
        self.device = torch.device(device)
        self.dtype = _dtype(precision, self.device)
        dtype: Any = str(self.dtype).removeprefix("torch.")
        self.precision: Precision = "int8" if precision == "int8" else dtype
        self.packed = 0
        self._quantization = quantization if precision == "int8" else None
        self._model = self._load(path)
        if image is not None and self.device.type == "cpu" and can_pack(self.dtype):
            try:
                self.packed = self._pack(path, image)
            except (RuntimeError, TypeError, ValueError):  # of a graph like no other
                logger.warning("the model is served as it is", exc_info=True)
                self._model = self._load(path)

    def _load(self, path: Path) -> Any:
        model = load_frozen(path, self.device)
        if self._quantization is not None:
            quantize(model.graph, self._quantization, self.dtype)
        forbid_tf32(model.graph)  # after a quantization, which is for the graph in the file
        _lay_out(model.graph, self.dtype)
        return model

    def _pack(self, path: Path, image: tuple[int, int, int]) -> int:
        if not convolutions(self._model.graph):  # as where all are in int8
            return 0
        # Of two, as what has one image may look as if it had the shape of another tensor.
        two = torch.zeros((2, *image), dtype=self.dtype)
        two = two.contiguous(memory_format=torch.channels_last)
        sizes = input_sizes(self._load(path), two[:1])
        graph = self._model.graph
        return pack(graph, sizes, plain_additions(graph, two))

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Tensor:
        """Logits, ``(N, classes)`` float32 on the CPU.

        Args:
            batch: ``(N, C, height, width)``, float32 or :attr:`dtype`, fastest as channels_last.

        Raises:
            TypeError: the model returned something else.
        """
        batch = batch.to(self.device, self.dtype, non_blocking=True)
        logits = self._model(batch)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"the model returned a {type(logits).__name__}; expected one tensor of logits, (N, "
                "classes): export a module that returns that alone"
            )
        return logits.float().cpu()


def load_frozen(path: Path, device: torch.device | str = "cpu") -> Any:
    """A TorchScript model as :mod:`.graph` takes it, in the precision that it was exported in."""
    model = load_script(path, device)
    simplify(model.graph)
    return model


def load_script(path: Path, device: torch.device | str) -> Any:
    """A frozen TorchScript model in the precision that it was exported in.

    Disables TF32 in this process, but for convolutions that have it in their graph; see
    :func:`.graph.forbid_tf32`.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False  # an environment variable may enable it
    with warnings.catch_warnings():
        # Deprecated since torch 2.11, and still the format that TorchServe loads.
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        model = torch.jit.load(str(path), map_location=device).eval()
        # Folds batch norms in float32, before anything is rounded. A file may be frozen.
        if model._c.hasattr("training"):
            model = torch.jit.freeze(model)
    return model


def fast_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16: AMX or AVX512-BF16."""
    # Older than torch.cpu.get_capabilities(), which torch 2.11 may not have.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def can_quantize() -> bool:
    """Whether this CPU has instructions for products of 8-bit integers: AVX512-VNNI."""
    return bool(torch.cpu._is_vnni_supported()) and torch.backends.mkldnn.is_available()


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "int8":
        return torch.bfloat16 if fast_bfloat16() else torch.float32
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if fast_bfloat16() else torch.float32


def _lay_out(graph: Any, dtype: torch.dtype) -> None:
    """Give all weights of a frozen graph a dtype, and filters the layout of channels_last."""
    for node in graph.findAllNodes("prim::Constant", recurse=True):
        if not node.hasAttribute("value") or node.kindOf("value") != "t":
            continue  # no tensor
        if all(use.user.kind().startswith("onednn::") for use in node.output().uses()):
            continue  # has what it is to have
        value = node.t("value")
        if value.is_floating_point():
            value = value.to(dtype)
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            node.t_("value", value)
