"""Recipes: all settings of a training run, by name."""

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_type_hints

from torch import nn

from falconet.model.backbone import DEFAULT as DEFAULT_BACKBONE
from falconet.model.backbone import Backbone, preprocessing
from falconet.model.cost import Cost, cost
from falconet.model.spec import Spec
from falconet.native.decode import Orientation, check_decoding
from falconet.native.formats import DEFAULT

from .augment import Augmentation
from .field_value import parse
from .optimizer import SGD, Optimizer
from .schedule import CosineRestarts, Schedule, Triangle
from .split import HoldOut

NOT_A_CHOICE = (
    "name",
    "about",
    "network",
    "arguments",
    "reference",
    "assumed",
    "space",
    "after",
    "begins_with",
)


@dataclass(frozen=True)
class Reference:
    """What was published for a system.

    Attributes:
        source: who, and where.
        accuracy: top-1, from 0 to 1; ``None`` where no figure is given.
        protocol: on which images, and which epoch's.
    """

    source: str
    accuracy: float | None
    protocol: str


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run. A recipe sets those that differ from these defaults.

    Attributes:
        name: by which commands know it.
        about: one line for those who choose among recipes.
        network: its class, called with ``classes``, the arguments, and ``size`` if it takes one.
        arguments: the network's own.
        reference: the published figure that the recipe is to reach.
        assumed: what the source leaves open, and was filled in here.
        space: what ``falconet tune`` searches where it is not told, like ``dropout=0..0.5``.
        after: a shorter recipe that does the same in its epochs, whose run ``falconet reproduce``
            goes on with.
        begins_with: the recipe whose weights are what this one begins with, see ``init_from`` of
            :func:`falconet.training.train.train`.

        size: ``(height, width)`` that images are resized to once, as in serving.
        resize: length of the shorter side before the center is cropped to ``size``; 0 resizes whole
            images to ``size``, or as the backbone of a transfer expects.
        orientation: whether photographs are rotated by their EXIF orientation, as in
            :class:`falconet.model.spec.Spec`.
        formats: of the files for training and serving.
        normalization: of pixels from 0 to 1, by the training set's mean and deviation of each
            channel, by those of all pixels, or not at all; or ``"own"``, as the backbone of a
            transfer expects.
        balanced: multiply the loss of an image by a weight that is higher for classes with fewer
            images, so that all classes have the same share of the loss.
        per_class: train on so many images of each class, drawn by chance; 0 takes all.
        validation: how many images are held out of the training set.
        hold_out: which ones; see :mod:`falconet.training.split`.
        keep: the weights of the last epoch, or of that with the best validation accuracy.
        patience: stop after so many epochs without a better one; 0 never does.
        top_k: labels in a served answer.

        epochs: times that each image is seen.
        batch_size: images in a step, over all processes; what is left of an epoch is dropped.
        backbone_rate: the learning rate of all but the last layer of a transfer, as a multiple.
        label_smoothing: share of the target spread over all classes.
        teacher: the recipe of a network whose answers to the same augmented images are learned
            in place of the labels.
        temperature: by which both networks' logits are divided then.
        ema_decay: of the moving average of the weights, which is then what is kept; 0 has none.
        snapshots: average the predictions of the networks at the ends of the schedule's last
            so many cycles (arXiv:1704.00109); 0 does not.
        precision: of convolutions and products; weights, norms and losses are in float32. In
            place of bfloat16, GPUs before Ampere compute in float16, with scaled gradients, and
            CPUs without AMX or AVX512-BF16 in float32. ``auto`` is bfloat16, or float32 on a CPU
            where a run measures at its start that this is faster.
        int8: round the layers' inputs and weights as serving in int8 does, which recovers most of
            what that costs; for a few epochs with ``--init-from``, at a low learning rate.
        compile: use torch.compile. It needs a C++ compiler and about a minute before the first
            step, and can shorten steps on a GPU.
        deterministic: the same bits in every run on the same machine, on a GPU at some cost.
        seed: of all chance.
    """

    name: str
    about: str
    network: type[nn.Module]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reference: Reference | None = None
    assumed: tuple[str, ...] = ()
    space: tuple[str, ...] = ()
    after: str = ""
    begins_with: str = ""

    size: tuple[int, int] = (32, 32)
    resize: int = 0
    orientation: Orientation = "ignore"
    formats: tuple[str, ...] = DEFAULT
    normalization: Literal["channels", "pixels", "no", "own"] = "channels"
    balanced: bool = False
    per_class: int = 0
    validation: int = 5000
    hold_out: HoldOut = "stratified"
    keep: Literal["last", "best"] = "last"
    patience: int = 0
    top_k: int = 10
    augmentation: Augmentation = field(default_factory=Augmentation)

    epochs: int = 40
    batch_size: int = 500
    optimizer: Optimizer = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Triangle)
    backbone_rate: float = 1.0
    label_smoothing: float = 0.0
    teacher: str = ""
    temperature: float = 1.0
    ema_decay: float = 0.0
    snapshots: int = 0
    precision: Literal["bfloat16", "float32", "auto"] = "bfloat16"
    int8: bool = False
    compile: bool = False
    deterministic: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.validation < 0:
            raise ValueError(
                "recipe: expected epochs and batch_size from 1 and validation from 0, got "
                f"{self.epochs}, {self.batch_size} and {self.validation}"
            )
        nothing_held = self.hold_out != "test" and self.validation == 0
        if nothing_held and (self.keep == "best" or self.patience):
            raise ValueError(
                "recipe: expected images to be held out for keep=best and patience to judge by; "
                "set validation, or keep=last patience=0"
            )
        if self.hold_out == "test" and self.validation:
            raise ValueError(
                "recipe: expected validation=0 with hold_out=test, where the test set takes its "
                f"place, got {self.validation}; set hold_out=stratified as well"
            )
        if self.snapshots and (self.keep == "best" or self.patience):
            raise ValueError("recipe: expected keep=last and patience=0 with snapshots")
        if self.compile and self.int8:
            raise ValueError(
                "recipe: expected compile=false with int8: torch.compile leaves out the rounding "
                "of int8"
            )
        check_decoding(self.formats, self.orientation)
        if self.teacher and (self.label_smoothing or self.balanced):
            raise ValueError(
                "recipe: expected label_smoothing=0 with a teacher, and balanced=false: its "
                "answers take the place of labels"
            )
        if self.normalization == "own" and not self.transfers:
            raise ValueError(
                "recipe: expected normalization=channels, pixels or no: only a transfer has one of "
                "its own"
            )
        if self.backbone_rate < 0 or (self.backbone_rate != 1 and not self.transfers):
            raise ValueError(
                "recipe: expected backbone_rate from 0 in a transfer, and 1 for networks without a "
                f"backbone, got {self.backbone_rate}"
            )
        least = min(self.size)
        if self.augmentation.cutout > least or self.augmentation.translate >= least:
            raise ValueError(
                f"recipe: expected cutout and translate to fit images of {self.size}, got "
                f"{self.augmentation.cutout} and {self.augmentation.translate}"
            )
        known = network_arguments(self.network)
        if unknown := self.arguments.keys() - known.keys():
            raise ValueError(
                f"recipe: {self.network.__name__} takes {', '.join(known)}, not {min(unknown)}"
            )
        if self.snapshots and len(self.snapshot_epochs) < self.snapshots:
            raise ValueError(
                f"recipe: expected a schedule with {self.snapshots} cycles, one for each snapshot, "
                f"in {self.epochs} epochs, got {self.schedule}"
            )

    @property
    def snapshot_epochs(self) -> list[int]:
        """The epochs whose networks form the ensemble."""
        if not self.snapshots or not isinstance(self.schedule, CosineRestarts):
            return []
        return self.schedule.cycle_ends(self.epochs)[-self.snapshots :]

    def build(self, classes: int) -> tuple[nn.Module, dict[str, Any]]:
        """The untrained network, and the arguments its class was called with."""
        arguments = {**self.arguments, "classes": classes}
        if "size" in inspect.signature(self.network.__init__).parameters:
            arguments["size"] = self.size
        return self.network(**arguments), arguments

    def spec(self, classes: tuple[str, ...]) -> Spec:
        """The spec to serve the network with. Its normalization is a placeholder, except with
        ``normalization="own"``.
        """
        stated: dict[str, Any] = {"size": self.size}
        if self.transfers:
            stated = preprocessing(self.arguments.get("backbone", DEFAULT_BACKBONE), self.size)
        if self.resize:
            stated |= {"resize": self.resize, "fit": "shorter"}
        return Spec(
            classes=classes,
            orientation=self.orientation,
            formats=self.formats,
            top_k=self.top_k,
            **stated,
        )

    @property
    def transfers(self) -> bool:
        """Whether it trains a backbone of torchvision or timm with a new last layer."""
        return issubclass(self.network, Backbone)

    @property
    def protocol(self) -> str:
        """Which epoch's network is tested, and on which images it was chosen."""
        held = "the test set" if self.hold_out == "test" else f"{self.validation} held out"
        if self.snapshots:
            return f"mean of {self.snapshots} snapshots"
        if self.keep == "best":
            return f"the best epoch on {held}"
        return "the last epoch"

    def cost(self, classes: int = 10) -> Cost:
        """Parameters and multiply-adds of the network that is served."""
        network, _ = self.build(classes)
        one = cost(network, self.size)
        return Cost(*(max(1, self.snapshots) * number for number in one))

    def choices(self) -> dict[str, tuple[Any, Any]]:
        """Each field that can be set on a command line, with its type and its value."""
        found: dict[str, tuple[Any, Any]] = {}
        hints = get_type_hints(Recipe)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in NOT_A_CHOICE:
                continue
            if is_dataclass(value):
                inner = get_type_hints(type(value))
                found |= {
                    part.name: (inner[part.name], getattr(value, part.name))
                    for part in fields(value)
                }
            else:
                found[item.name] = (hints[item.name], value)
        for name, (wanted, default) in network_arguments(self.network).items():
            found[name] = (wanted, self.arguments.get(name, default))
        return found

    def override(self, assignments: Iterable[str]) -> "Recipe":
        """The recipe with fields replaced, as written on a command line: ``epochs=10``.

        Raises:
            ValueError: no ``=``, an unknown field, or a value not of the field's type.
        """
        known = self.choices()
        changes: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ValueError(f"expected FIELD=VALUE, got {assignment!r}")
            if name not in known:
                raise ValueError(f"unknown field {name!r}; known are {', '.join(known)}")
            changes[name] = parse(name, text, known[name][0])
        return self.with_choices(changes)

    def with_choices(self, changes: Mapping[str, Any]) -> "Recipe":
        """The recipe with values of :meth:`choices` replaced."""
        names = {item.name for item in fields(self)}
        top: dict[str, Any] = {name: value for name, value in changes.items() if name in names}
        for item in fields(self):
            value = getattr(self, item.name)
            if is_dataclass(value) and not isinstance(value, type | Reference):
                inner = {part.name for part in fields(value)} & changes.keys()
                top[item.name] = replace(value, **{name: changes[name] for name in inner})
        own = self.choices()
        takes = [name for name in network_arguments(self.network) if name in changes]
        changed = {name: changes[name] for name in takes if changes[name] != own[name][1]}
        top["arguments"] = {**self.arguments, **changed}
        return replace(self, **top)

    def to_json(self) -> str:
        """All choices, with the names of the recipe and its network."""
        content = {"recipe": self.name, "network": self.network.__name__}
        for name, (_, value) in self.choices().items():
            content[name] = value
        return json.dumps(content, indent=2) + "\n"

    def differences(self, other: "Recipe") -> dict[str, Any]:
        """The choices of this recipe that differ from the other's."""
        theirs = {name: value for name, (_, value) in other.choices().items()}
        return {name: v for name, (_, v) in self.choices().items() if v != theirs.get(name)}


def network_arguments(network: type[nn.Module]) -> dict[str, tuple[Any, Any]]:
    """Types and defaults of the arguments of a network's class that a recipe can choose."""
    hints = get_type_hints(network.__init__)
    return {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(network.__init__).parameters.items()
        if name not in ("self", "classes", "size")
    }
