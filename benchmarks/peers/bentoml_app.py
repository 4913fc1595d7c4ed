"""BentoML: its root input takes the raw body, one image a call. bentoml serve bentoml_app:Api"""

from pathlib import Path
from typing import Any

import bentoml
from classifier import Classifier


@bentoml.service(workers=2, traffic={"timeout": 30})
class Api:
    """As its documentation shows for a single image."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(route="/predict")
    def predict(self, image: Path, /) -> dict[str, Any]:
        (answer,) = self.classifier.predict([self.classifier.read(image.read_bytes())])
        return answer
