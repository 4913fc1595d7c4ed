"""Hugging Face's image classifiers: ``hf:FOLDER``, ``hf:google/vit-base-patch16-224``."""

from typing import Any

from PIL import Image
from torch import Tensor

from falconet.native.from_hf import arguments

from ..spec import Spec
from .model import ImportOptions, Model, made, unique, with_weights

BACKENDS = ("torchvision", "pil")


def load(name: str, wanted: ImportOptions) -> Model:
    """A model that transformers loads for image classification, preprocessed by its processor.

    ``hf:NAME:pil`` takes the processor that resizes with Pillow, ``hf:NAME:torchvision`` the one
    that resizes tensors; else it is what transformers takes here. No code of the model's is run.

    Raises:
        ValueError: it cannot be loaded, or is preprocessed in a way that a spec does not state.
    """
    try:
        import transformers
    except ImportError as error:
        raise ModuleNotFoundError("hf: needs pip install transformers") from error
    place, colon, backend = name.rpartition(":")
    if not colon or backend not in BACKENDS:
        place, backend = name, ""
    try:
        config: Any = transformers.AutoConfig.from_pretrained(place)
        if wanted.head:
            config.num_labels = len(wanted.labels)
        auto: Any = transformers.AutoModelForImageClassification
        network = auto.from_pretrained(place) if wanted.published else auto.from_config(config)
        processor: Any = transformers.AutoImageProcessor.from_pretrained(
            place, **({"backend": backend} if backend else {})
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"hf:{name}: {error}") from error
    if config.problem_type == "regression":
        raise ValueError(f"hf:{name}: expected a classifier, got a model for regression")
    if wanted.outputs is None and config.problem_type == "multi_label_classification":
        wanted = wanted.returning("sigmoid")
    stated = arguments(processor)
    if wanted.size is not None and wanted.size != tuple(stated["size"]):
        raise ValueError(
            f"hf:{name}: expected the size of its image processor, {stated['size']}, got "
            f"{wanted.size}; change preprocessor_config.json"
        )
    names = [config.id2label[i] for i in range(config.num_labels)]
    # As transformers and datasets turn images when they load them.
    spec = wanted.stated(Spec(classes=unique(names), orientation="exif", **stated))

    def preprocess(image: Image.Image) -> Tensor:
        found: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return found

    return made(with_weights(network, wanted, spec), spec, preprocess, wanted)
