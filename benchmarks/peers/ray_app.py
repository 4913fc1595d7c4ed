"""Ray Serve, two replicas with batches of 16. python ray_app.py PORT"""

from typing import Any

from classifier import Classifier
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Api:
    """As its documentation shows for batches."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def predict(self, images: list[bytes]) -> list[dict[str, Any]]:
        return self.classifier.predict([self.classifier.read(data) for data in images])

    async def __call__(self, request: Request) -> dict[str, Any]:
        answer: dict[str, Any] = await self.predict(await request.body())
        return answer


app = Api.bind()

if __name__ == "__main__":
    import sys
    import time

    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(app, route_prefix="/predict")
    while True:
        time.sleep(1)
