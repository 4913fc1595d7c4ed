import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from falconet.handler import ENTRY
from falconet.model import samples
from falconet.model.archive import ArchiveError, Serving, archive
from falconet.model.export import export
from falconet.model.samples import Sample
from falconet.model.spec import Spec
from falconet.model.weights import Weights


@pytest.fixture
def folder(small_weights: Weights, tmp_path: Path) -> Path:
    export(small_weights, tmp_path / "exported")
    return tmp_path / "exported"


def test_an_archive_holds_all_but_the_package(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "store" / "pets.mar"
    known = Sample(b"an image's bytes", "cat", 0.75)
    serving = Serving(workers=3, threads=2)
    archive(folder, output, handler=ENTRY, version="2.1", serving=serving, known=[known])
    with zipfile.ZipFile(output) as mar:
        assert sorted(mar.namelist()) == [
            "MAR-INF/MANIFEST.json",
            "checksums.json",
            "model-config.yaml",
            "model.pt",
            "samples.json",
            "spec.json",
            "torchserve_entry.py",
        ]
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))["model"]
        config = yaml.safe_load(mar.read("model-config.yaml"))
        assert mar.read("spec.json") == (folder / "spec.json").read_bytes()
        sums = json.loads(mar.read("checksums.json"))
        assert sums == {
            name: hashlib.sha256(mar.read(name)).hexdigest()
            for name in mar.namelist()
            if name not in ("MAR-INF/MANIFEST.json", "checksums.json")
        }
        assert samples.from_json(json.loads(mar.read("samples.json"))) == [known]
        assert mar.read("model.pt") == (folder / "model.pt").read_bytes()
    assert manifest["modelName"] == "pets"
    assert manifest["modelVersion"] == "2.1"
    assert manifest["handler"] == "torchserve_entry.py"
    assert config["minWorkers"] == config["maxWorkers"] == 3
    assert config["falconet"]["threads"] == 2
    # Nothing else is left in the model store.
    assert [path.name for path in output.parent.iterdir()] == ["pets.mar"]


def test_an_archive_is_replaced(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "pets.mar"
    output.write_bytes(b"old")
    archive(folder, output, handler=ENTRY)
    assert zipfile.is_zipfile(output)


def test_a_spec_written_by_hand_is_completed(small_weights: Weights, tmp_path: Path) -> None:
    """The folder's name is one that the archiver would take for a pattern, and for two."""
    folder = tmp_path / "runs [old], new"
    export(small_weights, folder)
    (folder / "spec.json").write_text('{"format": 1, "size": [32, 32], "classes": ["a", "b", "c"]}')
    archive(folder, tmp_path / "pets.mar", handler=ENTRY)
    with zipfile.ZipFile(tmp_path / "pets.mar") as mar:
        packed = json.loads(mar.read("spec.json"))
    assert packed["crop"] == "center"
    assert packed["classes"] == ["a", "b", "c"]


def test_an_archive_with_a_temperature_is_of_a_format_that_earlier_versions_refuse(
    folder: Path, tmp_path: Path
) -> None:
    replace(Spec.load(folder), temperature=1.5).save(folder)
    archive(folder, tmp_path / "pets.mar", handler=ENTRY)
    with zipfile.ZipFile(tmp_path / "pets.mar") as mar:
        packed = json.loads(mar.read("spec.json"))
    assert (packed["format"], packed["temperature"]) == (4, 1.5)


def test_clear_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.mar, got .*pets\.zip"):
        archive(folder, tmp_path / "pets.zip", handler=ENTRY)
    with pytest.raises(ArchiveError, match=r"(?s)torch-model-archiver failed:.*special characters"):
        archive(folder, tmp_path / "my pets.mar", handler=ENTRY)
    for version in ("v2", "1.0.1", "0", "../1", ""):
        with pytest.raises(ValueError, match="version: expected a number above 0 like 2"):
            archive(folder, tmp_path / "pets.mar", handler=ENTRY, version=version)
    (folder / "spec.json").write_text("{}")
    with pytest.raises(ValueError, match="a format of"):
        archive(folder, tmp_path / "pets.mar", handler=ENTRY)
    with pytest.raises(FileNotFoundError, match=r"expected the TorchScript file model\.pt"):
        archive(tmp_path, tmp_path / "pets.mar", handler=ENTRY)
    with pytest.raises(ValueError, match="max_batch_delay: expected a whole number from 1, got 0"):
        Serving(max_batch_delay=0)
    assert not list(tmp_path.glob("*.mar"))


def test_samples_that_are_none() -> None:
    for content in ({}, [], {"format": 2}, {"format": 1, "samples": [{"image": "?"}]}):
        with pytest.raises(ValueError, match=r"samples\.json: "):
            samples.from_json(content)
