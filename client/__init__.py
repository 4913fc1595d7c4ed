"""A client for Falconet servers and gateways, without PyTorch.

from falconet.client import Client

with Client("https://images.example.com", api_key="...") as client:
    print(client.predict("cat.jpg").label)
"""

from .async_client import AsyncClient
from .client import Client
from .errors import ClientError, ConnectionFailedError, ResponseError
from .image import Image
from .result import Prediction, Result
from .retry import Retry

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "Image",
    "Prediction",
    "ResponseError",
    "Result",
    "Retry",
]
