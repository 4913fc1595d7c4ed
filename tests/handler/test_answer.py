"""What is written by hand is what json writes."""

import json
import math

import pytest

from falconet.handler import answer
from falconet.handler.classifier import Prediction

LABELS = ("cat", 'a "dog"', "back\\slash", "猫", "\u2028\n\t", "", "half \ud800 a pair")
PROBABILITIES = (0.0, 1.0, 0.1, 1 / 3, 1e-7, 4e-7, 0.9999996, 5e-324)


@pytest.mark.parametrize("label", LABELS)
def test_an_answer_is_jsons(label: str) -> None:
    predictions = [Prediction(label, each, i) for i, each in enumerate(PROBABILITIES)]
    plain = {"success": True, "predictions": answer.entries(predictions)}
    assert answer.encode(answer.success(predictions)) == answer.encode(plain)
    assert json.loads(answer.encode(answer.success(predictions))) == plain
    assert answer.encode(answer.success([])) == b'{"success":true,"predictions":[]}'


@pytest.mark.parametrize("probability", [math.nan, math.inf])
def test_no_answer_has_what_is_no_number(probability: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        answer.success([Prediction("cat", probability, 0)])
