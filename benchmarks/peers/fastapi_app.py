"""FastAPI; the model runs in its thread pool. uvicorn --workers 2 fastapi_app:app"""

from typing import Any

from classifier import Classifier
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

app = FastAPI()
classifier = Classifier()


def answer(data: bytes) -> dict[str, Any]:
    (found,) = classifier.predict([classifier.read(data)])
    return found


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """One image, as the body."""
    return await run_in_threadpool(answer, await request.body())
