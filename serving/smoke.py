"""Whether a version answers the samples of its archive as was recorded when it was made."""

from falconet.model.samples import example

from .client import Client, predict
from .errors import ServerError
from .package import Package

# Probabilities are recorded in float32; a server may compute in bfloat16.
TOLERANCE = 0.1
TIMEOUT = 60.0  # seconds, of a server whose cores may be busy


def smoke_test(client: Client, package: Package) -> None:
    """Ask a version that is registered, whether or not it is the default, about each sample.

    Raises:
        ServerError: it answers another label, or a probability that is far off.
    """
    url = client.prediction_url(package.model, package.version)
    if not package.samples:  # of a model that came without; at least it answers
        predict(url, example(), timeout=TIMEOUT)
    for i, sample in enumerate(package.samples):
        answer = predict(url, sample.image, timeout=TIMEOUT)
        predictions = answer.get("predictions")
        listed = predictions if isinstance(predictions, list) else []
        best = listed[0] if listed else {}
        if sample.made:  # of which a model may think several things alike
            best = next((each for each in listed if each.get("label") == sample.label), best)
        if (
            best.get("label") != sample.label
            or abs(best.get("probability", 0.0) - sample.probability) > TOLERANCE
        ):
            raise ServerError(
                f"{package.model} {package.version}: expected {sample.label} with probability "
                f"{sample.probability:.3f} for sample {i}, got {best or answer}"
            )


def answered(package: Package) -> str:
    """What a version that passed has shown."""
    if not package.samples:
        return "gives a prediction; its archive has no samples to compare with"
    count = len(package.samples)
    kind = "generated image" if package.samples[0].made else "sample"
    return f"gives the expected predictions for {count} {kind}{'s' if count > 1 else ''}"
