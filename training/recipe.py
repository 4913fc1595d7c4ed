"""What a training run does: every choice, by name, in one place."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Recipe:
    """One way to train. A recipe file holds one of these, and changes what it needs to.

    Rates are per step, on the mean loss of a batch.
    """

    name: str
    about: str  # one line for those who choose among recipes

    # Data. The pictures are brought to `size` once, as serving would; see falconet.model.Spec.
    size: tuple[int, int] = (32, 32)
    validation: int = 5000  # held out of the training set; 0 trains on all of it
    top_k: int = 5  # labels in a served answer

    # Network: falconet.model.network.ConvNet
    widths: tuple[int, ...] = (64, 256, 256)

    # Augmentation, for each picture of a batch
    flip: bool = True  # mirrored in every other epoch
    translate: int = 3  # shifted by up to so many pixels, edges reflected
    cutout: int = 8  # side of a square that is blanked, in pixels

    # Optimization: SGD with Nesterov momentum
    epochs: int = 40
    batch_size: int = 500
    learning_rate: float = 0.75
    bias_rate: float = 16.0  # the biases' learning rate, as a multiple
    momentum: float = 0.85
    weight_decay: float = 1.3e-3
    warm_up: float = 0.2  # share of the run in which the rate rises, from a fifth
    final_rate: float = 0.01  # the rate then falls linearly to this share
    label_smoothing: float = 0.1
    ema_decay: float = 0.99  # of the averaged network, which is the one that is kept

    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.validation < 0:
            raise ValueError(
                "recipe: expected epochs and batch_size from 1 and validation from 0, got "
                f"{self.epochs}, {self.batch_size} and {self.validation}"
            )

    def override(self, assignments: Iterable[str]) -> "Recipe":
        """The recipe with fields replaced, as written on a command line: ``epochs=10``.

        Raises:
            ValueError: no ``=``, an unknown field, or a value not of the field's type.
        """
        types = get_type_hints(type(self))
        changes: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ValueError(f"expected FIELD=VALUE, got {assignment!r}")
            if name not in types or name in ("name", "about"):
                known = ", ".join(field for field in types if field not in ("name", "about"))
                raise ValueError(f"unknown field {name!r}; known are {known}")
            changes[name] = _parse(name, text, types[name])
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def _parse(name: str, text: str, wanted: Any) -> Any:
    """Text to a value of a field's type. Tuples are written 64,256,256."""
    if get_origin(wanted) is tuple:
        return tuple(_parse(name, part, get_args(wanted)[0]) for part in text.split(","))
    try:
        if wanted is bool:
            return {"true": True, "false": False}[text.lower()]
        return wanted(text)
    except (KeyError, ValueError):
        expected = "true or false" if wanted is bool else wanted.__name__
        raise ValueError(f"{name}: expected {expected}, got {text!r}") from None
