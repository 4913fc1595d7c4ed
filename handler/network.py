"""A TorchScript model in the form that is fastest on this machine."""

import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .packing import can_pack, input_sizes, pack

Precision = Literal["auto", "bfloat16", "float32"]


class Network:
    """A classifier that has been frozen, with its weights laid out as its convolutions want them.

    On a CPU with instructions for bfloat16 it computes in that, to two or three digits; on a GPU in
    float16; elsewhere in float32.

    Args:
        path: a TorchScript file. It takes ``(N, C, height, width)`` and returns ``(N, classes)``
            logits.
        precision: ``"auto"`` as above; ``"bfloat16"`` and ``"float32"`` whatever the machine has.
        device: ``"cpu"``, or a GPU such as ``"cuda:0"``.
        picture: channels, height and width of pictures, for which filters are put in oneDNN's own
            order on a CPU; ``None`` leaves them as they are.

    Attributes:
        device: where it runs.
        dtype: what it computes in, and takes.
        packed: how many convolutions have their filters in oneDNN's own order.

    Raises:
        ValueError: no such precision.
    """

    def __init__(
        self,
        path: Path,
        precision: Precision = "auto",
        device: str = "cpu",
        picture: tuple[int, int, int] | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(
                f"precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}"
            )
        self.device = torch.device(device)
        self.dtype = _dtype(precision, self.device)
        self.packed = 0
        self._model = self._load(path)
        if picture is not None and self.device.type == "cpu" and can_pack(self.dtype):
            example = torch.zeros((1, *picture), dtype=self.dtype)
            example = example.contiguous(memory_format=torch.channels_last)
            self.packed = pack(self._model.graph, input_sizes(self._load(path), example))

    def _load(self, path: Path) -> Any:
        with warnings.catch_warnings():
            # Deprecated since torch 2.11, and still the format that TorchServe loads.
            warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            model = torch.jit.load(str(path), map_location=self.device).eval()
            # Folds batch norms in float32, before anything is rounded. A file may be frozen.
            if any(True for _ in model.parameters()):
                model = torch.jit.freeze(model)
        _lay_out(model.graph, self.dtype)
        return model

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


def fast_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16: AMX or AVX512-BF16."""
    # Older than torch.cpu.get_capabilities(), which torch 2.11 may not have.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
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
        value = node.t("value")
        if value.is_floating_point():
            value = value.to(dtype)
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            node.t_("value", value)
