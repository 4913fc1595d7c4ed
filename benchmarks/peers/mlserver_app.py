"""MLServer, two processes with batches of 16. mlserver start mlserver"""

import base64
import json

from classifier import Classifier
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Images(MLModel):  # type: ignore[misc]
    """Takes files in base64, as it has no binary data over HTTP; a batch's are in one input."""

    async def load(self) -> bool:
        self.classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        files = [base64.b64decode(text) for text in payload.inputs[0].data]
        answers = self.classifier.predict([self.classifier.read(data) for data in files])
        texts = [json.dumps(answer) for answer in answers]
        output = ResponseOutput(name="answer", shape=[len(texts)], datatype="BYTES", data=texts)
        return InferenceResponse(model_name=self.name, outputs=[output])
