"""Requests that no well-meaning client sends: the same ones for the same seed."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from ..load_generator.encode import multipart
from .damage import black, damaged, seeds
from .floods import KINDS, Flood

FLOOD_BYTES = 1_000, 300_000
TYPES = ("image/jpeg", "image/png", "application/octet-stream", "text/plain", "application/json",
         "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "", "\x01",
         "image/jpeg; charset=utf-99", "a" * 500)  # fmt: skip
PATHS = ("/../models", "/predictions/../models", "/predictions/%2e%2e/models", "//models",
         "/predict/../metrics", "/predictions/cifar%00", "/predictions/cifar;/models", "/workflows",
         "/models",
         "/predictions/cifar/1.0/../../../models", "/predict%0d%0aX-Api-Key:%20x", "/ping",
         "/predictions/" + "a" * 3000, "/v2/models/cifar/infer/..%2f", "/%c0%ae%c0%ae/etc/passwd",
         "/explanations/cifar", "/predictions/none", "/v1/models/cifar:explain", "/token", "*",
         "/predictions/cifar/9.9", "/\xff\xfe", "http://127.0.0.1:8081/models")  # fmt: skip
METHODS = ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "PROPFIND", "X",
           "PO ST", "POST\0", "A" * 100)  # fmt: skip
LENGTHS = ("-1", "x", "1e3", "0x10", " ", "99999999999999999999", "+5", "1, 2", "20971521")
JSON = ("{", "{}", '{"instances"', '{"instances": []}', '{"instances": 5}', '{"instances": [5]}',
        '{"instances": [{"b64": 5}]}', '{"instances": [{"b64": "%%%"}]}', '{"instances": [{}]}',
        '{"instances": [{"b64": ""}]}', '{"instances": [NaN]}', '{"a": ' * 50_000,
        "{" + "[" * 90_000, '{"inputs": 1}', '{"inputs": [{}]}', '{"inputs": [[]]}',
        '{"inputs": []}', '{"inputs": {}}',
        '{"x": ' + "9" * 5000 + "}", '{"x": 1e999}', '{"\\ud800": 1}', "{\0}",
        '{"inputs": [{}, {}]}',
        '{"id": {"a": 1}, "inputs": [{"shape": [1]}]}', "{" + " " * 100_000)  # fmt: skip
SHAPES: Sequence[Any] = ([1], [2], [0], [-1], [10**30], [1.5], ["1"], [True], [], None, "1", {},
          [1, 2, 2, 3], [2, 2, 3], [2**31, 2**31, 3], [1, 10**9, 10**9, 3], [129], [1, 1],
          [[1]])  # fmt: skip
DATA: Sequence[Any] = (None, [], [5], ["%"], [""], [None], {}, "x", [[[1, 2, 3]]], [0] * 12,
        [256] * 12, [-1] * 12, [0.5] * 12, [10**30] * 12, ["0"] * 12, [[1], [2, 3]],
        [True] * 12)  # fmt: skip
DATATYPES: Sequence[Any] = ("BYTES", "UINT8", "FP32", "", None, 5, ["BYTES"])


@dataclass(frozen=True)
class Hostile:
    """One request on a connection of its own.

    Attributes:
        kind: of wickedness.
        data: all that is sent.
        end: what the client does then: it waits for an answer, or says that no more will come,
            after which it may be given none, or goes away.
    """

    kind: str
    data: bytes
    end: Literal["wait", "half-close", "close"] = "wait"


class Maker:
    """Makes hostile requests of all kinds.

    Args:
        key: that a gateway knows.
        seed: of what is random.
    """

    def __init__(self, key: str, seed: int = 0) -> None:
        self._key = key
        self._random = np.random.default_rng(seed)
        self._files = seeds(self._random)
        self._large = black()
        self._kinds: dict[str, tuple[float, Callable[[], Hostile]]] = {
            "damaged images": (50, self._image),
            "damaged images in forms": (8, self._form),
            "damaged images in JSON": (8, self._instances),
            "images that are work": (0.1, self._work),
            "malformed JSON": (6, self._json),
            "malformed tensors": (8, self._tensor),
            "malformed forms": (4, self._broken_form),
            "headers": (4, self._headers),
            "paths": (3, self._path),
            "methods": (3, self._method),
            "keys": (3, self._unknown),
            "lengths": (2, self._length),
            "chunks": (2, self._chunks),
            "no HTTP": (3, self._garbage),
            "early closes": (4, self._early),
        }
        for kind, made in KINDS.items():
            if "large" not in kind:
                self._kinds[kind] = 0.2, partial(self._flood, kind, made)

    def __iter__(self) -> Iterator[Hostile]:
        weights = np.array([weight for weight, _ in self._kinds.values()])
        kinds = list(self._kinds)
        while True:
            kind = kinds[self._random.choice(len(kinds), p=weights / weights.sum())]
            yield self._kinds[kind][1]()

    def _one(self, some: Sequence[Any]) -> Any:
        return some[int(self._random.integers(len(some)))]

    def _damaged(self) -> bytes:
        return damaged(self._files, self._random)

    def _request(
        self, body: bytes, path: str = "/predict", method: str = "POST", **headers: str
    ) -> bytes:
        """With the right key and length unless ``headers`` says otherwise; it ends the
        connection.
        """
        lines = {
            "Host": "x", "Connection": "close", "X-Api-Key": self._key,
            "Content-Length": str(len(body)),
        }  # fmt: skip
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

    def _image(self) -> Hostile:
        data = self._request(self._damaged(), Content_Type=self._one(TYPES[:-3]))
        return Hostile("damaged images", data)

    def _work(self) -> Hostile:
        return Hostile("images that are work", self._request(self._large))

    def _flood(self, kind: str, made: Callable[[int], Flood]) -> Hostile:
        flood = made(int(np.exp(self._random.uniform(*np.log(FLOOD_BYTES)))))
        return Hostile(kind, self._request(flood.body, **flood.headers))

    def _form(self) -> Hostile:
        whole = multipart("/predict", self._damaged(), self._one(TYPES[:4]))
        body = whole.partition(b"\r\n\r\n")[2]
        name = self._one((b"request", b"image", b"data", b"body", b"", b"\xff", b"x" * 1000))
        body = body.replace(b'name="request"', b'name="%s"' % name)
        kind = "multipart/form-data; boundary=----falconet"
        return Hostile("damaged images in forms", self._request(body, Content_Type=kind))

    def _instances(self) -> Hostile:
        files = [self._damaged() for _ in range(self._random.integers(1, 5))]
        texts = [base64.b64encode(file).decode() for file in files]
        if self._random.random() < 0.5:
            message: Any = {"instances": [{"b64": text} for text in texts]}
        else:
            tensor = {"name": "x", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
            message = {"inputs": [tensor]}
        data = self._request(json.dumps(message).encode(), Content_Type="application/json")
        return Hostile("damaged images in JSON", data)

    def _json(self) -> Hostile:
        body = bytearray(self._one(JSON).encode())
        if self._random.random() < 0.3:
            body[self._random.integers(len(body))] = self._random.integers(256)
        kind = self._one(("application/json", "image/jpeg"))
        return Hostile("malformed JSON", self._request(bytes(body), Content_Type=kind))

    def _tensor(self) -> Hostile:
        tensor = {"name": "x", "datatype": self._one(DATATYPES), "shape": self._one(SHAPES)}
        binary, headers = b"", {}
        if self._random.random() < 0.5:
            tensor["data"] = self._one(DATA)
        else:
            binary = self._random.bytes(int(self._random.integers(100)))
            size = self._one((len(binary), -1, 10**12, "5", None, len(binary) + 1, 1.5))
            tensor["parameters"] = self._one(({"binary_data_size": size}, [], None, 5))
        text = json.dumps({"inputs": [tensor]}).encode()
        if binary:
            length = self._one((str(len(text)), "0", "1", "99999999", "-5", "x", "٣", ""))
            headers["Inference-Header-Content-Length"] = length.encode().decode("latin-1")
        data = self._request(text + binary, Content_Type="application/json", **headers)
        return Hostile("malformed tensors", data)

    def _broken_form(self) -> Hostile:
        line = b"--b\r\nContent-Disposition: form-data; "
        kind, body = self._one(
            (
                ("multipart/form-data", b"--b\r\n\r\n--b--"),
                ("multipart/form-data; boundary=", line + b'name="image"\r\n\r\nx\r\n--b--'),
                ("multipart/form-data; boundary=b", line + b'name="image"\r\n\r\n'),
                ("multipart/form-data; boundary=b", line + b"name\r\n\r\nx\r\n--b--\r\n"),
                ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
                ("multipart/form-data; boundary=b", b"--b--\r\n"),
                ("multipart/form-data; boundary=b", b""),
                ("multipart/form-data; boundary=b", b"no form at all"),
                ("multipart/form-data; boundary=c", line + b'name="image"\r\n\r\nx\r\n--b--\r\n'),
                ("multipart/form-data; boundary=b", (line + b'name="x"\r\n\r\n\r\n') * 3000),
                ("multipart/form-data; boundary=b", line + b'name="' + b"x" * 100_000),
                ("multipart/form-data; boundary=" + "b" * 4000, b"--" + b"b" * 4000),
                ("multipart/form-data; boundary=b", line + b'name="image"; filename="../../x"\r\n'
                 b"Content-Transfer-Encoding: base64\r\n\r\n!!\r\n--b--\r\n"),
                ("multipart/form-data; boundary=b", line + b'name="image"\r\nContent-Type: '
                 b"multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b--\r\n"),
                ("multipart/mixed; boundary=b", line + b'name="image"\r\n\r\nx\r\n--b--\r\n'),
                ("application/x-www-form-urlencoded", b"image=%%%&data=%zz&=&&&body"),
            )
        )  # fmt: skip
        return Hostile("malformed forms", self._request(body, Content_Type=kind))

    def _headers(self) -> Hostile:
        name, value = self._one(
            (
                ("X-Long", "x" * 9_000), ("X-Long", "x" * 40_000), ("Cookie", "a=b; " * 3000),
                ("describe", "True"), ("explain", "True"), ("url_path", "../x"), ("Expect", "x"),
                ("Content-Encoding", "gzip"), ("X-Request-Id", "\x01\xff" * 50), ("Host", "\xff"),
                ("Upgrade", "h2c"), ("Range", "bytes=0-,-9999"), ("X-Forwarded-For", "::1\0"),
                ("TE", "trailers, deflate"), ("Bad Name", "x"), ("X-Null", "a\0b"), ("", "x"),
                ("Authorization", "Bearer " + "x" * 5000), ("Accept", "*/*;" * 500),
            )
        )  # fmt: skip
        headers = {name: value}
        if self._random.random() < 0.3:
            headers |= {f"X-{i}": "y" for i in range(self._random.integers(50, 500))}
        return Hostile("headers", self._request(self._damaged(), **headers))

    def _path(self) -> Hostile:
        method = self._one(("GET", "POST", "PUT", "DELETE"))
        return Hostile("paths", self._request(b"", self._one(PATHS), method))

    def _method(self) -> Hostile:
        return Hostile("methods", self._request(b"", method=self._one(METHODS)))

    def _unknown(self) -> Hostile:
        key = self._one(
            ("", "x", self._key[:-1], self._key.upper(), "~.*", '"', "k" * 4000, "\xff")
        )
        return Hostile("keys", self._request(self._damaged(), X_Api_Key=key))

    def _length(self) -> Hostile:
        body = self._damaged()
        if self._random.random() < 0.3:  # more is promised than comes
            data = self._request(body, Content_Length=str(len(body) + 100))
            return Hostile("lengths", data, "half-close")
        if self._random.random() < 0.3:  # said twice, and differently
            return Hostile("lengths", self._request(body, content_length="5", Content_Length="6"))
        return Hostile("lengths", self._request(body, Content_Length=self._one(LENGTHS)))

    def _chunks(self) -> Hostile:
        body = self._damaged()
        good = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        bad = self._one(
            (good, b"zz\r\nx\r\n0\r\n\r\n", b"-5\r\nx\r\n", b"ffffffffffffffffff\r\nx", b"5;a=b\nx",
             b"\r\n\r\n", b"1\r\nxx\r\n0\r\n\r\n")
        )  # fmt: skip
        data = self._request(bad, Transfer_Encoding=self._one(("chunked", "chunked", "gzip", "x")))
        data = data.replace(b"Content-Length: %d\r\n" % len(bad), b"")
        return Hostile("chunks", data, "half-close")

    def _garbage(self) -> Hostile:
        rest = b"\r\nHost: x\r\nConnection: close\r\n\r\n"
        data = self._one(
            (
                self._random.bytes(int(self._random.integers(1, 500))) + b"\r\n\r\n",
                b"POST /predict HTTP/9.9" + rest, b"POST /predict HTTP/1.1\r\n\r\n", b"\r\n" * 50,
                b"POST /predict" + rest, b"POST  HTTP/1.1" + rest, b"POST /predict HTTP/1.1\n\n",
                b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\0" * 1000, b"SSH-2.0-x\r\n",
                b"x" * 20_000,
            )
        )  # fmt: skip
        return Hostile("no HTTP", data, "half-close")

    def _early(self) -> Hostile:
        data = self._request(self._damaged())
        part = data[: self._random.integers(len(data))]
        return Hostile("early closes", part, self._one(("half-close", "close")))
