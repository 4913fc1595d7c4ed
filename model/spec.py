"""What a model expects of an image, and what its answers mean."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from falconet.native import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Crop,
    Filter,
    Fit,
    Preprocessor,
    Reference,
)
from falconet.native.decode import Decoder, Orientation, check_decoding
from falconet.native.formats import DEFAULT
from falconet.native.output import Output, check_output, probabilities

# The first with a temperature, which a handler that does not know it must not leave out. A spec
# without one is written in format 3, as before. Formats 1 and 2 lack fields, and have exact_as as
# reference.
FORMAT = 4
READABLE = (1, 2, 3, 4)
FILE_NAME = "spec.json"


@dataclass(frozen=True)
class Spec:
    """The single source of truth about a model's preprocessing and labels.

    Training evaluates with it, export writes it beside the model, the handler reads it there.

    Attributes:
        size: ``(height, width)`` of the network's input, in pixels.
        classes: the label of each output, in order.
        resize: what an image is resized to before its center is kept: ``None`` for ``size``,
            ``(height, width)``, or the length of one side, which the other follows in proportion.
        fit: which side that is, ``"shorter"`` or ``"longer"``.
        crop: how the center is found, see :class:`falconet.native.Preprocessor`; ``"center"`` is
            torchvision's CenterCrop, ``"center_floor"`` that of Hugging Face.
        fill: what is padded where the resized image is smaller than ``size``: one byte for all
            channels, or one for each.
        filter: one of :data:`falconet.native.FILTERS`.
        mean: per channel, for pixels in the range 0 to 1; subtracted first.
        std: per channel; divided by.
        exact_as: the library whose resize is reproduced bit for bit: ``"pillow"``, or ``"torch"``
            for a model trained on tensors.
        decode: ``"exact"``, or ``"fast"``: a JPEG more than twice too large is shrunk in passing
            while it is decoded. Faster, and not quite the same pixels.
        orientation: ``"exif"`` turns photographs as their Exif says, ``"ignore"`` leaves them as
            they are stored, as torchvision does, but for TIFF and HEIC; see
            :class:`falconet.native.decode.Decoder`.
        formats: of files that are decoded; see :data:`falconet.native.formats.FORMATS`.
        output: what the network returns for each class: ``"logits"`` of classes of which one is
            right, ``"sigmoid"`` for logits of several labels at once, or ``"probabilities"``.
        temperature: that logits are divided by before the softmax, which calibrates probabilities;
            see :mod:`falconet.training.temperature`.
        answer: the form of an answer to an image alone, see :data:`falconet.handler.answer.FORMS`;
            ``"torchserve"`` is that of TorchServe's ``image_classifier``.
        top_k: how many labels an answer lists at most.

    Raises:
        ValueError, TypeError: a field does not fit; the message says what was expected.
    """

    size: tuple[int, int]
    classes: tuple[str, ...]
    resize: int | tuple[int, int] | None = None
    fit: Fit = "shorter"
    crop: Crop = "center"
    fill: int | tuple[int, ...] = 0
    filter: Filter = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    exact_as: Reference = "pillow"
    decode: Literal["exact", "fast"] = "exact"
    orientation: Orientation = "ignore"
    formats: tuple[str, ...] = DEFAULT
    output: Output = "logits"
    temperature: float = 1.0
    answer: str = "falconet"
    top_k: int = 5

    def __post_init__(self) -> None:
        if not self.classes or not all(isinstance(name, str) and name for name in self.classes):
            raise ValueError(f"spec: expected at least one class name, got {self.classes!r}")
        # TorchServe's form is for what has been served so, such as ImageNet's two cranes.
        if len(set(self.classes)) != len(self.classes) and self.answer != "torchserve":
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"spec: the class {twice!r} is listed twice")
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1:
            raise ValueError(f"spec: expected top_k to be a whole number from 1, got {self.top_k}")
        if self.decode not in ("exact", "fast"):
            raise ValueError(f"spec: expected decode to be 'exact' or 'fast', got {self.decode!r}")
        try:
            check_output(self.output, self.temperature)
            check_decoding(self.formats, self.orientation)
        except ValueError as error:
            raise ValueError(f"spec: {error}") from None
        self.preprocessor(threads=1)

    def decoder(self) -> Decoder:
        """The only way from files to images.

        Raises:
            ModuleNotFoundError: the decoder of a format is not installed.
        """
        return Decoder.from_spec(asdict(self))

    def preprocessor(self, threads: int = 0) -> Preprocessor:
        """The only way from images to the network's input."""
        return Preprocessor.from_spec(asdict(self), threads=threads)

    def probabilities(self, numbers: Any) -> Any:
        """The only way from what the network returns, ``(N, classes)``, to probabilities."""
        return probabilities(self.output, numbers, self.temperature)

    def to_json(self) -> str:
        """Canonical text: equal specs give equal bytes."""
        content = {"format": FORMAT, **asdict(self), "temperature": float(self.temperature)}
        if self.temperature == 1:
            content["format"] = FORMAT - 1
            del content["temperature"]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: not JSON, an unknown format, a missing or an unknown field.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("format") not in READABLE:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"spec: expected an object with a format of {READABLE}, got {found!r}")
        if "temperature" in data and data["format"] < FORMAT:
            raise ValueError(
                f"spec: expected format {FORMAT} with a temperature, so that earlier versions of "
                f"falconet refuse it, got {data['format']}"
            )
        del data["format"]
        return cls.of(data)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Spec":
        """A spec of fields as JSON has them.

        Raises:
            ValueError: a missing or an unknown field, or one that does not fit.
        """
        data = _renamed(data)
        known = {field.name for field in fields(cls)}
        if unknown := data.keys() - known:
            raise ValueError(f"spec: unknown field {min(unknown)!r}; known are {sorted(known)}")
        if missing := {"size", "classes"} - data.keys():
            raise ValueError(f"spec: the field {min(missing)!r} is missing")
        for name in ("size", "classes", "mean", "std", "formats"):
            if name in data and not isinstance(data[name], list):
                raise ValueError(f"spec: expected {name} to be a list, got {data[name]!r}")
        return cls(**{name: _frozen(value) for name, value in data.items()})

    def changed(self, values: Mapping[str, Any]) -> "Spec":
        """The same with other values of some fields, as JSON has them.

        Raises:
            ValueError: an unknown field, or one that does not fit.
        """
        stated = json.loads(self.to_json())
        del stated["format"]
        return Spec.of({**stated, **_renamed(values)})

    def save(self, folder: Path) -> Path:
        """Write ``spec.json`` into a folder and return its path."""
        path = folder / FILE_NAME
        path.write_text(self.to_json(), encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: Path) -> "Spec":
        """Read ``spec.json`` from a folder."""
        return cls.from_json((folder / FILE_NAME).read_text(encoding="utf-8"))


def _renamed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields under their current names."""
    return {"exact_as" if name == "reference" else name: each for name, each in data.items()}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
