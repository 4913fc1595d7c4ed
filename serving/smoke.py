"""Whether a version answers the samples of its archive as was recorded when it was made."""

from falconet.client import Client, Prediction, Retry
from falconet.model.samples import example

from .errors import ServerError
from .package import Package

# Probabilities are recorded in float32; a server may compute in bfloat16.
TOLERANCE = 0.1
TIMEOUT = 60.0  # seconds, of a server whose cores may be busy


def smoke_test(inference: str, package: Package) -> None:
    """Ask a version that is registered, whether or not it is the default, about each sample.

    Args:
        inference: the server's URL.
        package: the version.

    Raises:
        ServerError, ClientError: it does not answer, answers another label, or a probability that
            is far off.
    """
    model, version = package.model, package.version
    with Client(inference, timeout=TIMEOUT, retry=Retry(attempts=1)) as client:
        if not package.samples:  # of a model that came without; at least it predicts something
            client.predict(example(), model=model, version=version)
        for i, sample in enumerate(package.samples):
            found = client.predict(sample.image, model=model, version=version).predictions
            best = found[0]
            if sample.made:  # of which a model may think several things alike
                best = next((each for each in found if each.label == sample.label), best)
            if not _agrees(best, Prediction(sample.label, sample.probability)):
                raise ServerError(
                    f"{model} {version}: expected {sample.label} with probability "
                    f"{sample.probability:.3f} for sample {i}, got {best.label} with "
                    f"{best.probability:.3f}"
                )


def _agrees(found: Prediction, expected: Prediction) -> bool:
    near = abs(found.probability - expected.probability) <= TOLERANCE
    return found.label == expected.label and near


def answered(package: Package) -> str:
    """What a version that passed has shown."""
    if not package.samples:
        return "gives a prediction; its archive has no samples to compare with"
    count = len(package.samples)
    kind = "generated image" if package.samples[0].made else "sample"
    return f"gives the expected predictions for {count} {kind}{'s' if count > 1 else ''}"
