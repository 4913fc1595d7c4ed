import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from falconet.handler.classifier import READABLE as HANDLER_READABLE
from falconet.model.spec import FORMAT, READABLE, Spec
from falconet.native import Preprocessor
from falconet.native.decode import Decoder
from falconet.native.formats import DEFAULT

SPEC = Spec(
    size=(24, 30),
    classes=("Katze", "größerer Hund"),
    resize=28,
    filter="bicubic",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    top_k=1,
    exact_as="torch",
    decode="fast",
    orientation="exif",
    formats=("JPEG", "AVIF"),
)


def test_survives_json() -> None:
    assert Spec.from_json(SPEC.to_json()) == SPEC
    assert "größerer Hund" in SPEC.to_json()


def test_survives_a_folder(tmp_path: Path) -> None:
    assert SPEC.save(tmp_path).name == "spec.json"
    assert Spec.load(tmp_path) == SPEC


def test_writer_and_reader_agree_on_the_format() -> None:
    assert READABLE == HANDLER_READABLE
    assert FORMAT in READABLE


def test_the_specs_of_earlier_versions_are_read() -> None:
    content = json.loads(SPEC.to_json())
    for new in ("output", "answer"):
        del content[new]
    content["reference"] = content.pop("exact_as")
    assert Spec.from_json(json.dumps({**content, "format": 1})) == SPEC
    assert Preprocessor.from_spec(content) == SPEC.preprocessor()
    assert SPEC.changed({"reference": "pillow"}) == replace(SPEC, exact_as="pillow")


def test_only_a_spec_with_a_temperature_is_refused_by_earlier_versions() -> None:
    """A handler that does not know the field reads formats up to 3."""
    warm = replace(SPEC, temperature=2)
    assert json.loads(warm.to_json())["format"] == FORMAT == 4
    assert warm.to_json() == replace(SPEC, temperature=2.0).to_json()
    assert Spec.from_json(warm.to_json()) == warm == SPEC.changed({"temperature": 2})
    content = json.loads(SPEC.to_json())
    assert content["format"] == 3
    assert "temperature" not in content
    assert warm.changed({"temperature": 1}).to_json() == SPEC.to_json()
    assert Spec.from_json(json.dumps({**content, "format": 4, "temperature": 1})) == SPEC


def test_probabilities_are_of_divided_logits() -> None:
    logits = torch.tensor([[3.0, 1.0], [-2.0, 0.5]])
    expected = (logits / 2.5).softmax(1)
    assert torch.equal(replace(SPEC, temperature=2.5).probabilities(logits), expected)
    assert torch.equal(SPEC.probabilities(logits), logits.softmax(1))


def test_labels_may_repeat_only_where_torchserve_has_answered_so() -> None:
    with pytest.raises(ValueError, match="the class 'crane' is listed twice"):
        replace(SPEC, classes=("crane", "crane"))
    repeated = replace(SPEC, classes=("crane", "crane"), answer="torchserve")
    assert Spec.from_json(repeated.to_json()) == repeated


def test_preprocesses_as_it_says() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    expected = Preprocessor(
        (24, 30),
        resize=28,
        filter="bicubic",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        exact_as="torch",
    )
    np.testing.assert_array_equal(SPEC.preprocessor()([image]), expected([image]))


def changed(**fields: object) -> str:
    return json.dumps({**json.loads(SPEC.to_json()), **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object with a format of .1, 2, 3, 4., got 'list'"),
        ("{}", "format of .1, 2, 3, 4., got None"),
        ("not json", "Expecting value"),
        (changed(output="logit"), "expected output to be one of logits, probabilities, sigmoid"),
        (changed(format=5), "format of .1, 2, 3, 4., got 5"),
        (changed(temperature=2), "expected format 4 with a temperature, .*, got 3"),
        (changed(format=4, temperature=0), "temperature to be a number from 0.01 to 100, got 0"),
        (changed(format=4, temperature=True), "to be a number from 0.01 to 100, got True"),
        (changed(format=4, temperature="2"), "to be a number from 0.01 to 100, got '2'"),
        (changed(format=4, temperature=math.nan), "to be a number from 0.01 to 100, got nan"),
        (
            changed(format=4, temperature=2, output="sigmoid"),
            "expected a temperature only with output 'logits', .*, got 2 with 'sigmoid'",
        ),
        (changed(colour="RGB"), "unknown field 'colour'"),
        ('{"format": 1, "classes": ["a"]}', "the field 'size' is missing"),
        (changed(classes="ab"), "expected classes to be a list, got 'ab'"),
        (changed(size=32), "expected size to be a list, got 32"),
        (changed(classes=[]), "at least one class name"),
        (changed(classes=["a", ""]), "at least one class name"),
        (changed(classes=["a", "b", "a"]), "'a' is listed twice"),
        (changed(top_k=0), "top_k to be a whole number from 1"),
        (changed(filter="nearest"), "got 'nearest'"),
        (changed(crop="left"), "crop: expected 'center' or 'center_floor', got 'left'"),
        (changed(exact_as="cv2"), "'pillow' or 'torch', got 'cv2'"),
        (changed(decode="quick"), "decode to be 'exact' or 'fast', got 'quick'"),
        (changed(orientation="right"), "spec: expected orientation .*, got 'right'"),
        (changed(formats=["JPEG", "PCX"]), "formats to be some of JPEG, .*, got JPEG, PCX"),
        (changed(formats=[]), "formats to be some of"),
        (changed(formats="JPEG"), "expected formats to be a list, got 'JPEG'"),
        (changed(std=[0, 1, 1]), "std: expected finite numbers above zero"),
        (changed(size=[0, 1]), "height: expected 1 to"),
    ],
)
def test_clear_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spec.from_json(text)


def test_what_earlier_specs_leave_out_is_as_it_was() -> None:
    earlier = {
        name: value
        for name, value in json.loads(SPEC.to_json()).items()
        if name not in ("exact_as", "decode", "orientation", "formats")
    }
    spec = Spec.from_json(json.dumps(earlier))
    assert (spec.exact_as, spec.decode, spec.orientation) == ("pillow", "exact", "ignore")
    assert spec.formats == DEFAULT
    assert Decoder.from_spec(earlier) == Decoder()
    assert Preprocessor.from_spec(earlier).exact_as == "pillow"
