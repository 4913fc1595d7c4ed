"""Images as whole HTTP requests."""

import base64
import json


def post(path: str, body: bytes, content_type: str, key: str = "") -> bytes:
    """A whole request, with a gateway's API key if one is given."""
    known = f"X-Api-Key: {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"{known}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def multipart(path: str, body: bytes, content_type: str) -> bytes:
    """The same with the body as the field ``request`` of a form."""
    limit = "----falconet"
    before = (
        f'--{limit}\r\nContent-Disposition: form-data; name="request"; filename="image"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    form = before.encode() + body + f"\r\n--{limit}--\r\n".encode()
    return post(path, form, f"multipart/form-data; boundary={limit}")


def open_inference(path: str, body: bytes, content_type: str) -> bytes:
    """The same as a tensor of the Open Inference Protocol, in base64."""
    data = [base64.b64encode(body).decode()]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}
    return post(path, json.dumps({"inputs": [tensor]}).encode(), "application/json")
