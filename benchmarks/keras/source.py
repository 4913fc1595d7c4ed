"""The publications' networks in Keras itself, with the values of their source code.

Run by a Python that has keras, tensorflow and scipy, which needs nothing of this repository:

    PYTHON source.py settings NETWORK --epochs N,N --batches N
    PYTHON source.py steps NETWORK --images FILE --output FILE
    PYTHON source.py train NETWORK --images FILE --output FOLDER --epochs N --seed N

``settings`` prints what Keras' objects report, with the learning rate after the given epochs.
``steps`` takes some steps from given weights. ``train`` writes a line for each epoch into
FOLDER/epochs.jsonl as it finishes, and continues from FOLDER/checkpoint.keras.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# With JAX as Keras' backend on a GPU: float32 without TF32, and only the memory that is needed.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np
from keras import layers, ops
from keras.src.legacy.preprocessing.image import ImageDataGenerator

BATCH = {"episode2": 64, "elu": 64, "shallow": 32, "vgg3_final_normalized": 64}


def episode2(dropout: bool = True) -> keras.Model:
    """Deep Learning Lab, Episode 2."""
    stack: list[Any] = [keras.Input((32, 32, 3))]
    for width, rate in ((32, 0.3), (64, 0.3), (128, 0.4)):
        stack += [layers.Conv2D(width, (3, 3), padding="same"), layers.Activation("relu")]
        stack += [layers.MaxPooling2D(pool_size=(2, 2)), layers.Dropout(rate)]
    stack += [layers.Flatten(), layers.Dense(80), layers.Activation("relu"), layers.Dropout(0.3)]
    stack += [layers.Dense(10), layers.Activation("softmax")]
    return _compiled(stack, keras.optimizers.SGD(learning_rate=0.01, momentum=0.9), dropout)


@keras.saving.register_keras_serializable("benchmarks")
class EluRate(keras.optimizers.schedules.LearningRateSchedule):
    """The source's schedule of epochs, divided by what Keras' ``decay=1e-6`` did at that time."""

    def __init__(self, steps: int) -> None:
        self.steps = steps  # of an epoch

    def __call__(self, step: Any) -> Any:
        kind = keras.config.floatx()
        step = ops.cast(step, kind)
        epoch = ops.floor(step / self.steps)
        rate = ops.cast(ops.where(epoch > 75, 0.0005, 0.001), kind)
        rate = ops.where(epoch > 100, ops.cast(0.0003, kind), rate)
        return rate / (1 + 1e-6 * step)

    def get_config(self) -> dict[str, Any]:
        return {"steps": self.steps}


@keras.saving.register_keras_serializable("benchmarks")
class RMSprop(keras.optimizers.RMSprop):
    """Keras' as it was in 2018: its epsilon is added to the root, and not under it."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, gradient = (ops.cast(each, variable.dtype) for each in (learning_rate, gradient))
        velocity = self._velocities[self._get_variable_index(variable)]
        self.assign(velocity, self.rho * velocity + (1 - self.rho) * ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(velocity) + self.epsilon))


def elu(dropout: bool = True, steps: int = 50000 // 64) -> keras.Model:
    """appliedmachinelearning.blog, 90 %."""
    stack = [*_blocks("elu"), layers.Flatten(), layers.Dense(10, activation="softmax")]
    return _compiled(stack, RMSprop(learning_rate=EluRate(steps)), dropout)


def shallow(dropout: bool = True) -> keras.Model:
    """appliedmachinelearning.blog, 76 %."""
    stack: list[Any] = [keras.Input((32, 32, 3))]
    stack += [layers.Conv2D(32, (3, 3), padding="same", activation="relu"), layers.Dropout(0.2)]
    for width in (32, 64):
        stack += [layers.Conv2D(width, (3, 3), padding="same", activation="relu")]
        stack += [layers.MaxPooling2D(pool_size=(2, 2))]
    limited = keras.constraints.MaxNorm(3)
    stack += [layers.Flatten(), layers.Dropout(0.2)]
    stack += [layers.Dense(512, activation="relu", kernel_constraint=limited), layers.Dropout(0.2)]
    stack += [layers.Dense(10, activation="softmax")]
    # Keras of 2018 had decay=0.01 / 25.
    rate = keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=0.01 / 25)
    return _compiled(stack, keras.optimizers.SGD(learning_rate=rate, momentum=0.9), dropout)


def vgg3_final_normalized(dropout: bool = True) -> keras.Model:
    """TheKermitFrog, cifar10-CNN: the final VGG, normalized pixels."""
    stack = [*_blocks("relu"), layers.Flatten(), layers.Dense(128, kernel_regularizer=_l2())]
    stack += [layers.Activation("relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
    stack += [layers.Dense(10, activation="softmax")]
    return _compiled(stack, keras.optimizers.Adam(learning_rate=1e-3), dropout)


def _blocks(activation: str) -> list[Any]:
    stack: list[Any] = [keras.Input((32, 32, 3))]
    for width, rate in ((32, 0.2), (64, 0.3), (128, 0.4)):
        for _ in range(2):
            stack += [layers.Conv2D(width, (3, 3), padding="same", kernel_regularizer=_l2())]
            stack += [layers.Activation(activation), layers.BatchNormalization()]
        stack += [layers.MaxPooling2D(pool_size=(2, 2)), layers.Dropout(rate)]
    return stack


def _l2() -> Any:
    return keras.regularizers.L2(1e-4)


def _compiled(stack: list[Any], optimizer: Any, dropout: bool) -> keras.Model:
    if not dropout:
        stack = [layer for layer in stack if not isinstance(layer, layers.Dropout)]
    model = keras.Sequential(stack)
    # Its own metric, as the loss has the L2 in it.
    metrics = ["accuracy", "sparse_categorical_crossentropy"]
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=metrics)
    return model


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "episode2": episode2,
    "elu": elu,
    "shallow": shallow,
    "vgg3_final_normalized": vgg3_final_normalized,
}
AUGMENTATION = {
    network: {
        "rotation_range": degrees,
        "width_shift_range": 0.1,
        "height_shift_range": 0.1,
        "horizontal_flip": True,
    }
    for network, degrees in (("elu", 15), ("vgg3_final_normalized", 10))
}
CHUNK = 2000  # images that are transformed at a time


def built(network: str, batches: int) -> keras.Model:
    """A network that trains for so many batches in each epoch."""
    return elu(steps=batches) if network == "elu" else NETWORKS[network]()


def prepared(network: str, images: Any, training_images: Any) -> Any:
    """Pixels as the source prepares them: from 0 to 1, or by the training set's z-score."""
    x = images.astype("float32")
    if network in ("episode2", "shallow"):
        return x / 255.0
    training = training_images.astype("float32")
    return (x - np.mean(training)) / (np.std(training) + 1e-7)


def settings(network: str, epochs: list[int], batches: int) -> dict[str, Any]:
    """Settings that Keras' objects report, under the names that both sides use.

    Args:
        network: one of :data:`NETWORKS`.
        epochs: after which to report the learning rate.
        batches: of an epoch.
    """
    keras.utils.set_random_seed(0)
    model = built(network, batches)
    kinds = {kind: [each for each in model.layers if isinstance(each, kind)] for kind in KINDS}
    weighted = [*kinds[layers.Conv2D], *kinds[layers.Dense]]
    optimizer = model.optimizer.get_config()
    rate = model.optimizer._learning_rate
    rates = [float(rate(each * batches)) if callable(rate) else float(rate) for each in epochs]
    norms = {(1 - each.momentum, each.epsilon) for each in kinds[layers.BatchNormalization]}
    found: dict[str, Any] = {
        "parameters": model.count_params(),
        "deviation of the weights at the start": [
            float(np.std(each.get_weights()[0])) for each in weighted
        ],
        "batch norm: new share, epsilon": [float(v) for pair in norms for v in pair],
        "dropout": [each.rate for each in kinds[layers.Dropout]],
        "L2, in the loss": [
            float(each.kernel_regularizer.l2) for each in weighted if each.kernel_regularizer
        ],
        "limit of the norms of a layer's outputs": [
            float(each.kernel_constraint.max_value) for each in weighted if each.kernel_constraint
        ],
        "optimizer": type(model.optimizer).__name__.lower(),
        "momentum": optimizer.get("momentum", optimizer.get("beta_1")),
        "smoothing of squares": optimizer.get("rho", optimizer.get("beta_2", 0.0)),
        "epsilon": optimizer.get("epsilon", 0.0),
        f"rate after {', '.join(map(str, epochs))} epochs": rates,
        "batch size": BATCH[network],
        "precision": keras.config.floatx(),
    }
    if network in AUGMENTATION:
        generator = ImageDataGenerator(**AUGMENTATION[network])
        shifts = [generator.height_shift_range, generator.width_shift_range]
        found["rotation, shifts, mirrored"] = [
            generator.rotation_range,
            *shifts,
            generator.horizontal_flip,
        ]
        found["fill"] = generator.fill_mode
        found["interpolation order"] = generator.interpolation_order
    return found


KINDS = (layers.Conv2D, layers.Dense, layers.BatchNormalization, layers.Dropout)


def steps(network: str, images: Path, output: Path) -> None:
    """Some steps in float64, without chance: losses, then probabilities; and transformed images.

    The file holds the weights by number, batches ``x`` ``(steps, N, 32, 32, 3)`` with ``y``,
    and images with the degrees and shifts of their transforms.
    """
    given = np.load(images)
    keras.config.set_floatx("float64")
    model = NETWORKS[network](dropout=False)
    model.set_weights([given[f"weight{i}"] for i in range(len(model.get_weights()))])
    losses = []
    for x, y in zip(given["x"], given["y"], strict=True):
        model.reset_metrics()
        said = model.train_on_batch(x, y, return_dict=True)
        losses.append(said["sparse_categorical_crossentropy"])
    transforms = [
        {"theta": degrees, "tx": first, "ty": second, "flip_horizontal": False}
        for degrees, (first, second) in zip(given["degrees"], given["shifts"], strict=True)
    ]
    transforms += [{**each, "flip_horizontal": True} for each in transforms]
    both = np.concatenate([given["images"]] * 2)
    generator = ImageDataGenerator()
    pairs = zip(both, transforms, strict=True)
    expected = np.stack([generator.apply_transform(*pair) for pair in pairs])
    difference = np.abs(expected - transform_images(both, transforms)).max()
    answers = model.predict(given["x"][-1], verbose=0)
    plain = expected[: len(given["images"])]
    results = {"losses": losses, "answers": answers, "transformed": plain}
    np.savez(output, **results, batch_difference=difference)


def train(network: str, images: Path, output: Path, epochs: int, seed: int) -> None:
    """Train from where the folder's checkpoint is, or from the start."""
    given = np.load(images)
    x, held = (prepared(network, given[name], given["train_x"]) for name in ("train_x", "held_x"))
    y, held_y = given["train_y"], given["held_y"]
    batch = BATCH[network]
    batches = len(x) // batch  # the rest of an epoch is dropped, as in our recipes
    output.mkdir(parents=True, exist_ok=True)
    note_environment(output / "environments.json")
    checkpoint, log = output / "checkpoint.keras", output / "epochs.jsonl"
    keras.utils.set_random_seed(seed)
    started = checkpoint.exists()
    model = keras.models.load_model(checkpoint) if started else built(network, batches)
    done = int(model.optimizer.iterations) // batches
    lines = log.read_text().splitlines()[:done] if log.exists() else []
    for epoch in range(done, epochs):
        began = time.perf_counter()
        # All chance is drawn anew each epoch, so that a run goes on as if it had not stopped.
        np.random.seed(1000 * seed + epoch)  # noqa: NPY002 - what ImageDataGenerator draws from
        for place, layer in enumerate(model.layers):
            if isinstance(layer, layers.Dropout):
                layer.seed_generator.state.assign([1000 * seed + epoch, place])
        order = np.random.default_rng([seed, epoch]).permutation(len(x))[: batches * batch]
        inputs = x[order]
        if network in AUGMENTATION:  # as flow() does, whose number of draws depends on fit()
            generator = ImageDataGenerator(**AUGMENTATION[network])
            drawn = [generator.get_random_transform(x.shape[1:]) for _ in order]
            inputs = transform_images(inputs, drawn)
        fitted = model.fit(inputs, y[order], batch_size=batch, shuffle=False, verbose=0)
        seconds = time.perf_counter() - began
        said = model.evaluate(held, held_y, batch_size=1000, verbose=0, return_dict=True)
        line = {
            "epoch": epoch + 1,
            "loss": round(fitted.history["sparse_categorical_crossentropy"][0], 4),
            "accuracy": round(fitted.history["accuracy"][0], 4),
            "validation_loss": round(said["sparse_categorical_crossentropy"], 4),
            "validation_accuracy": round(said["accuracy"], 4),
            "seconds": round(seconds, 2),
        }
        lines.append(json.dumps(line))
        (output / "next.jsonl").write_text("\n".join(lines) + "\n")
        (output / "next.jsonl").replace(log)
        # Last: an epoch that is not in the checkpoint is run again, and its line replaced.
        model.save(output / "next.keras")
        (output / "next.keras").replace(checkpoint)
        print(f"keras {network}, seed {seed}: {lines[-1]}", flush=True)


def transform_images(images: Any, transforms: Sequence[dict[str, Any]]) -> Any:
    """Square images ``(N, side, side, channels)``, transformed as ImageDataGenerator does.

    ``ImageDataGenerator.apply_transform`` transforms one channel at a time, which on a GPU takes
    longer than training. Only rotation, shifts and mirroring are implemented.
    """
    side = images.shape[1]
    degrees, right, down, mirrored = (
        np.array([each[name] for each in transforms], "float64")
        for name in ("theta", "tx", "ty", "flip_horizontal")
    )
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    middle = (side - 1) / 2
    # The position that a pixel at (x, y) is read from, with the rotation around the middle.
    x0 = middle + cos * (right - middle) - sin * (down - middle)
    y0 = middle + sin * (right - middle) + cos * (down - middle)
    # A mirrored image has column x where the other has side - 1 - x.
    x0, y0 = x0 + mirrored * cos * (side - 1), y0 + mirrored * sin * (side - 1)
    sign, zero = 1 - 2 * mirrored, np.zeros_like(cos)
    rows = [sign * cos, -sin, x0, sign * sin, cos, y0, zero, zero]
    matrices = np.stack(rows, 1).astype("float32")
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    done = [
        ops.image.affine_transform(
            images[chunk],
            matrices[chunk],
            interpolation="bilinear",
            fill_mode="nearest",
            data_format="channels_last",
        )
        for chunk in chunks
    ]
    return np.concatenate([ops.convert_to_numpy(each) for each in done])


def note_environment(file: Path) -> None:
    """Add this environment to those that a run was trained in, if it is not the last one."""
    known = json.loads(file.read_text()) if file.exists() else []
    if known[-1:] != [environment()]:
        file.write_text(json.dumps([*known, environment()]))


def environment() -> dict[str, str]:
    """Versions of Keras and its backend, and the device."""
    backend = keras.backend.backend()
    version = next(filter(None, map(_version, (f"{backend}-cpu", backend))))
    device = keras.distribution.list_devices()[0]
    return {"keras": keras.__version__, backend: version, "device": device.partition(":")[0]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("action", choices=("settings", "steps", "train"))
    options.add_argument("network", choices=NETWORKS)
    options.add_argument("--images", type=Path)
    options.add_argument("--output", type=Path)
    options.add_argument("--epochs")
    options.add_argument("--batches", type=int)
    options.add_argument("--seed", type=int)
    given = options.parse_args()
    if given.action == "settings":
        epochs = [int(each) for each in given.epochs.split(",")]
        found = settings(given.network, epochs, given.batches)
        print(json.dumps({"versions": environment(), **found}))
    elif given.action == "steps":
        steps(given.network, given.images, given.output)
    else:
        train(given.network, given.images, given.output, int(given.epochs), given.seed)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
