"""int8: calibrated, shown, packed."""

import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from falconet.cli.calibration import CalibrationError, calibrate
from falconet.cli.main import main
from falconet.cli.model import open_classifier
from falconet.handler.network import can_quantize
from falconet.handler.quantization import FILE_NAME, Quantization
from falconet.model.archive import CONFIG
from falconet.model.samples import png
from falconet.model.weights import Weights

pytestmark = pytest.mark.skipif(not can_quantize(), reason="int8 needs AVX512-VNNI")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shipped network was trained on, each image twice, and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for i, pixels in enumerate(Weights.load().samples):
        (folder / f"{i}.png").write_bytes(png(pixels))
        (folder / f"{i}-again.png").write_bytes(png(pixels[:, ::-1]))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_an_archive_in_int8(images: Path, tmp_path: Path) -> None:
    mar = tmp_path / "cifar10.mar"
    result = run("archive", "--output", mar, "--calibrate", images)
    assert result.exit_code == 0, result.output
    assert "error in int8" in result.output
    assert "3x3 convolution, 24 to" in result.output
    assert "layers, observed on 64 images; on 64 others the top-1 class is the same" in (
        result.output.replace("\n", " ")
    )
    assert "served in the fastest on the server's CPU of int8, " in result.output
    with zipfile.ZipFile(mar) as archive:
        config = yaml.safe_load(archive.read(CONFIG))["falconet"]
        found = Quantization.from_json(archive.read(FILE_NAME).decode())
    assert config["precisions"] == ["int8", "bfloat16", "float32"]
    assert config["precision"] == "auto"
    samples = Weights.load().samples
    with open_classifier(mar) as served:
        assert served.network.precision == "int8"
        answers = served.classify(samples)
        kinds = [node.kind() for node in served.network._model.graph.nodes()]
    assert sum(kind.startswith("onednn::q") for kind in kinds) == len(found.layers) >= 8
    run("archive", "--output", tmp_path / "exact.mar", "--precision", "float32")
    with open_classifier(tmp_path / "exact.mar") as exact:
        expected = exact.classify(samples)
    same = [a[0].label == b[0].label for a, b in zip(answers, expected, strict=True)]
    assert sum(same) >= 63


def test_int8_needs_images(images: Path, tmp_path: Path, small_weights: Weights) -> None:
    small_weights.save(tmp_path / "pets.pt")
    output = ("archive", tmp_path / "pets.pt", "--output", tmp_path / "pets.mar")
    result = run(*output, "--precision", "int8")
    assert result.exit_code == 1
    assert "--calibrate DIR" in result.output
    few = tmp_path / "few"
    few.mkdir()
    (few / "0.png").write_bytes((images / "0.png").read_bytes())
    result = run(*output, "--precision", "int8", "--calibrate", few)
    assert (
        "expected at least 64 images to calibrate on, found 1 of which 1 can be read"
        in result.output
    )
    assert not (tmp_path / "pets.mar").exists()


def test_a_model_that_int8_changes_is_refused(images: Path, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in exported.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    files = sorted(images.glob("*.png"))
    (folder / FILE_NAME).write_text("of another day")
    with pytest.raises(CalibrationError, match=r"expected 110\.0%: calibrate on images like"):
        calibrate(folder, files, 1.1)
    assert not (folder / FILE_NAME).exists()
    found = calibrate(folder, files, 0.98)
    assert found.same_top1 >= 0.98 * found.compared
    assert any(layer.int8 for layer in found.layers)
    assert all(layer.error > 0 for layer in found.layers)
