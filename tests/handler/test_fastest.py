"""Which precision a worker serves."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from falconet.handler import MEASURED, fastest
from falconet.handler.fastest import available, measure
from falconet.handler.quantization import QuantizationError


class Slow:
    """A model that takes so many seconds for each image."""

    def __init__(self, precision: str, seconds: float, clock: "Clock") -> None:
        self.precision, self.seconds, self.clock = precision, seconds, clock
        self.network = SimpleNamespace(precision=precision)
        self.runs = 0

    def batch(self, size: int) -> Any:
        import numpy as np

        return np.empty(size)

    def logits(self, rows: Any) -> None:
        self.runs += 1
        self.clock.now += self.seconds * len(rows)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fastest, "perf_counter", made)
    return made


def loader(clock: Clock, seconds: dict[str, float]) -> tuple[Any, list[str]]:
    loaded: list[str] = []

    def load(precision: str) -> Slow:
        loaded.append(precision)
        return Slow(precision, seconds[precision], clock)

    return load, loaded


def test_the_fastest_is_served_and_remembered(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "checksums.json").write_text("{}")
    seconds = {"int8": 0.003, "bfloat16": 0.001, "float32": 0.002}
    load, loaded = loader(clock, seconds)
    first: Any = fastest.load_fastest(load, [*seconds], tmp_path, 16)  # type: ignore[list-item]
    assert first.precision == "bfloat16"
    assert sorted(loaded) == sorted(seconds)
    assert "bfloat16 is the fastest here: int8 3.00 ms, bfloat16 1.00 ms" in caplog.text
    loaded.clear()
    again: Any = fastest.load_fastest(load, [*seconds], tmp_path, 16)  # type: ignore[list-item]
    assert (again.precision, loaded) == ("bfloat16", ["bfloat16"])
    assert "was the fastest here before" in caplog.text
    (tmp_path / "checksums.json").write_text('{"model.pt": "another"}')
    fastest.load_fastest(load, [*seconds], tmp_path, 16)  # type: ignore[list-item]
    assert len(loaded) == 4


def test_what_is_hopeless_is_not_measured_on(clock: Clock) -> None:
    models: Any = {"int8": Slow("int8", 0.001, clock), "float32": Slow("float32", 0.01, clock)}
    found = measure(models, 16)
    assert found == {"int8": 1.0, "float32": 10.0}
    assert models["float32"].runs < models["int8"].runs
    slow: Any = {"int8": Slow("int8", 4, clock), "float32": Slow("float32", 5, clock)}
    measure(slow, 16)
    assert slow["float32"].runs == 4  # not for ever


def test_one_precision_needs_no_measuring(tmp_path: Path, clock: Clock) -> None:
    load, loaded = loader(clock, {"float32": 1.0})
    fastest.load_fastest(load, ["float32"], tmp_path, 16)
    assert loaded == ["float32"]
    assert not [*tmp_path.iterdir()]


WRONG = ("[]", '"x"', "{}", '{"int8": null}', '{"int8": "a"}', '{"int8": NaN}', '{"int4": 1.0}')


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"x": 1}', "[" * 100_000, *(f'{{"KEY": {each}}}' for each in WRONG)]
)
def test_a_damaged_file_is_measured_again(
    content: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.json"
    monkeypatch.setenv(MEASURED, str(kept))
    monkeypatch.setattr(fastest, "_key", lambda *_: "KEY")
    kept.write_text(content)
    load, _ = loader(clock, {"int8": 1.0, "float32": 2.0})
    fastest.load_fastest(load, ["int8", "float32"], tmp_path / "archive", 1)
    assert {"int8": 1000.0, "float32": 2000.0} in json.loads(kept.read_text()).values()


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MEASURED, str(tmp_path / "missing" / "kept.json"))
    load, _ = loader(clock, {"int8": 1.0, "float32": 2.0})
    found: Any = fastest.load_fastest(load, ["int8", "float32"], tmp_path, 1)
    assert found.precision == "int8"
    assert "not remembered" in caplog.text


def test_what_cannot_be_loaded_is_left_out(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def load(precision: str) -> Slow:
        if precision == "int8":
            raise QuantizationError("made for another model")
        made = Slow(precision, 1.0, clock)
        made.network.precision = "float32"  # what it fell back to
        return made

    every = ["int8", "bfloat16", "float32"]
    found: Any = fastest.load_fastest(load, every, tmp_path, 1)  # type: ignore[arg-type]
    assert found.network.precision == "float32"
    assert "int8 is not served: made for another model" in caplog.text
    results = json.loads((tmp_path / "measured.json").read_text())
    assert list(results.values()) == [{"float32": 1000.0}]


def test_only_what_the_cpu_has_instructions_for_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    every = ("int8", "bfloat16", "float32")
    monkeypatch.setattr(fastest, "can_quantize", lambda: True)
    monkeypatch.setattr(fastest, "fast_bfloat16", lambda: False)
    assert available(every) == ["int8", "float32"]
    assert available(("bfloat16", "float32")) == ["float32"]
    assert available(("bfloat16",)) == ["float32"]
    monkeypatch.setattr(fastest, "can_quantize", lambda: False)
    assert available(every) == ["float32"]


def test_int8_on_a_cpu_without_it(
    exported: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from falconet.handler import PRECISION
    from falconet.handler.service import Service

    monkeypatch.setattr("falconet.handler.service.can_quantize", lambda: False)
    options = {"precision": "int8", "precisions": ["float32"], "threads": 1}
    context = SimpleNamespace(
        model_yaml_config={"falconet": options},
        model_name="m",
        system_properties={"batch_size": 1, "model_dir": str(exported), "gpu_id": None},
        manifest={"model": {"serializedFile": "model.pt", "modelVersion": "1.0"}},
    )
    assert Service(context).classifier.network.precision == "float32"
    assert "int8 is not served, but another precision: this CPU has no" in caplog.text
    monkeypatch.setenv(PRECISION, "bfloat16")
    assert Service(context).classifier.network.precision == "bfloat16"
