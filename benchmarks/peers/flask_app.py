"""Flask, as the seeds' API: POST /predict. gunicorn -w 2 --preload flask_app:app"""

from classifier import Classifier
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
classifier = Classifier()


@app.post("/predict")
def predict() -> Response:
    """One image, as the body."""
    (answer,) = classifier.predict([classifier.read(request.get_data())])
    return jsonify(answer)
