"""Archives of TorchServe's own handlers, made by torch-model-archiver, beside what they become."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageOps
from torch import nn

from benchmarks.models.stock import DIGITS, pack, script
from falconet.cli.main import main
from falconet.model.agreement import Agreement, difference
from falconet.model.archive import Serving
from falconet.model.archive_process import Answer
from falconet.model.migration import MigrationError, _orientation, unpack
from falconet.model.spec import Spec

# torchvision's transforms warn of nothing, but importing it does.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

NETWORK = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d({channels}, {classes}, 9, 7)
    def forward(self, x):
        return 30 * self.layer(x).mean((2, 3))
"""
NAMES = {"0": ["n1", "crane"], "1": "cat", "2": "crane", "3": "größerer Hund", "4": "e", "5": "f"}


def network(channels: int, classes: int) -> nn.Module:
    names: dict[str, Any] = {}
    exec(NETWORK.format(channels=channels, classes=classes), names)
    torch.manual_seed(0)
    made: nn.Module = names["Net"]().eval()
    return made


def stock(
    folder: Path, *, eager: bool = False, channels: int = 3, classes: int = 6, **options: Any
) -> Path:
    folder.mkdir()
    made = network(channels, classes)
    if eager:
        torch.save(made.state_dict(), folder / "net.pt")
        code = NETWORK.format(channels=channels, classes=classes)
        return pack(folder, model_file="net.py", files={"net.py": code}, **options)
    script(made, torch.rand(1, channels, 64, 64), folder / "net.pt")
    return pack(folder, **options)


def migrated(old: Path, new: Path, *options: str) -> tuple[dict[str, Any], Spec]:
    """The comparison and the spec in the new archive."""
    done = CliRunner().invoke(main, ["migrate", str(old), "--output", str(new), *options])
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(new) as mar:
        return json.loads(mar.read("proof.json")), Spec.from_json(mar.read("spec.json").decode())


@pytest.mark.long
def test_an_eager_image_classifier_answers_as_before(tmp_path: Path) -> None:
    config = "maxWorkers: 2\nminWorkers: 1\nbatchSize: 4\npt2:\n  compile:\n    enable: false\n"
    old = stock(tmp_path / "old", eager=True, names=NAMES, config=config)
    proof, spec = migrated(old, tmp_path / "new.mar")
    assert proof["same"] == proof["answered"] >= 30
    assert proof["difference"] < 1e-5
    assert proof["lost"] == {}
    assert proof["gained"].keys() == {
        *("JPEG L", "PNG L", "PNG RGBA", "PNG P", "JPEG CMYK", "GIF P", "PNG LA")
    }
    assert (spec.size, spec.resize, spec.answer, spec.top_k) == ((224, 224), 256, "torchserve", 5)
    assert spec.classes == ("crane", "cat", "crane", "größerer Hund", "e", "f")
    with zipfile.ZipFile(tmp_path / "new.mar") as mar:
        written = mar.read("model-config.yaml").decode()
        assert json.loads(mar.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"] == "2.5"
    for line in ("maxWorkers: 2", "batchSize: 4", "precision: float32"):
        assert line in written


def test_a_handler_of_gray_digits_answers_as_before(tmp_path: Path) -> None:
    old = stock(
        tmp_path / "old", handler="digits.py", files={"digits.py": DIGITS}, channels=1, classes=10
    )
    proof, spec = migrated(old, tmp_path / "new.mar", "--size", "28")
    assert proof["same"] == proof["answered"] >= 18
    assert proof["gained"]["JPEG RGB"] > 5
    assert (spec.size, spec.answer, len(spec.mean), spec.top_k) == ((28, 28), "class_number", 1, 5)
    assert spec.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {
                "handler": "own.py",
                "files": {"own.py": "def handle(data, context):\n    return data"},
            },
            "expected TorchServe's image_classifier, or a handler",
        ),
        (
            {
                "handler": "own.py",
                "files": {"own.py": DIGITS.replace("data.argmax(1).tolist()", "['x'] * len(data)")},
                "channels": 1,
            },
            'expected the old handler to answer probabilities by label, or .* got "x"',
        ),
        (
            {"handler": "own.py", "files": {"own.py": "raise OSError('no such camera')"}},
            "OSError: no such camera",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_said(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    old = stock(tmp_path / "old", **change)
    output = tmp_path / "new.mar"
    options = ["--size", "28"] if change.get("channels") == 1 else []
    done = CliRunner().invoke(main, ["migrate", str(old), "--output", str(output), *options])
    assert done.exit_code == 1
    assert re.search(message, done.output), done.output
    assert not output.exists()


def test_what_is_no_archive_of_a_network_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.mar").write_bytes(b"no zip")
    with pytest.raises(MigrationError, match="expected an archive of torch-model-archiver"):
        unpack(tmp_path / "a.mar", tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "b.mar", "w") as mar:
        model = {"serializedFile": "m.onnx", "handler": "image_classifier"}
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
    with pytest.raises(MigrationError, match=r"expected a PyTorch model, a \.pt file, got m\.onnx"):
        unpack(tmp_path / "b.mar", tmp_path / "b")


def test_ties_are_the_same_and_other_answers_are_not() -> None:
    assert difference({"a": 0.5, "b": 0.25}, {"a": 0.5, "b": 0.25}) == 0
    assert difference({"a": 0.5, "b": 0.25}, {"a": 0.5, "c": 0.25}) == 0
    assert difference({"a": 0.5, "b": 0.25}, {"b": 0.5, "a": 0.25}) == 0.25
    assert difference({"a": 0.5, "b": 0.25}, {"a": 0.5}) is None
    assert difference(3, 3) == 0
    assert difference(3, 4) is difference({"a": 1.0}, 1) is None
    agreement = Agreement()
    good, other, bad = (
        Answer(200, {"a": 1.0}, 0.5),
        Answer(200, {"b": 0.5}, 0.1),
        Answer(503, "no", 0.1),
    )
    kinds = ["PNG RGB", "PNG LA", "PNG LA", "PNG RGB", "PNG P"]
    old, new = [good, bad, bad, good, other], [good, good, bad, bad, good]
    agreement.add(kinds, old, new)
    assert not agreement.holds
    assert (agreement.images, agreement.answered, agreement.same) == (5, 2, 1)
    assert str(agreement) == (
        "the same answer on 1 of 2 images, with 1 different labels; "
        "probabilities differ by at most 0\n"
        "one label for all says little: name images of several with --samples\n"
        "only the old one answers 1: no\nonly the new one answers: 1 PNG LA\n"
        "the old one takes for other colors: 1 PNG P\n"
        "requests a second, one after another and without the server: 2.0 by the old handler, 2.0 "
        "by the new one"
    )
    agreement.add(["PNG RGBA"], [good], [other])
    assert (agreement.answered, agreement.same) == (3, 1)
    assert not Agreement().holds


class Turning:
    """Answers with the size of what it sees, turned as its Exif says or not."""

    def __init__(self, turns: bool) -> None:
        self.turns = turns

    def ask(self, files: Sequence[bytes]) -> list[Answer]:
        answers = []
        for file in files:
            with Image.open(io.BytesIO(file)) as image:
                seen = ImageOps.exif_transpose(image) if self.turns else image
                answers.append(Answer(200, {f"{seen.size} {seen.getpixel((0, 0))}": 1.0}, 0.1))
        return answers


@pytest.mark.parametrize(("turns", "orientation"), [(True, "exif"), (False, "ignore")])
def test_a_handler_that_turns_images_is_noticed(turns: bool, orientation: str) -> None:
    stated = {"size": [20, 30], "mean": [0.5] * 3}
    assert _orientation(Turning(turns), stated) == orientation  # type: ignore[arg-type]


def test_options_that_torchserve_takes_for_its_own_are_left_to_ours(tmp_path: Path) -> None:
    config = "maxBatchDelay: 0\nminWorkers: '2'\nbatchSize: 4\nhandler: {}\n"
    old = unpack(stock(tmp_path / "old", config=config), tmp_path / "unpacked")
    assert (old.serving.workers, old.serving.batch_size) == (2, 4)
    assert old.serving.max_batch_delay == Serving().max_batch_delay
    assert old.ignored == ("handler",)
    with pytest.raises(MigrationError, match="expected an archive of torch-model-archiver: while"):
        unpack(stock(tmp_path / "broken", config="a: [1"), tmp_path / "b")
