"""The header that says where a request's time went."""

import time

import pytest

from falconet.handler.server_timing import ServerTiming


def test_stages_of_a_request_are_added_up() -> None:
    timing = ServerTiming([None, None])
    timing.add("decode", 0.001, [0])
    timing.add("decode", 0.0005, [0])
    timing.add("inference", 0.01, [0, 0, 1])
    assert timing.header(0) == "decode;dur=1.50, inference;dur=10.00"
    assert timing.header(1) == "inference;dur=10.00"


def test_the_queue_is_what_passed_since_the_proxy() -> None:
    timing = ServerTiming([f"t={time.time() - 0.25:.3f}"])
    name, _, milliseconds = timing.header(0).partition(";dur=")
    assert name == "queue"
    assert 249 <= float(milliseconds) < 5_000


@pytest.mark.parametrize(
    "start", [{"name": "field"}, None, "", "t=", "soon", "t=nan", "t=inf", "t=1", "t=99999999999"]
)
def test_what_no_proxy_says_is_left_out(start: object) -> None:
    assert ServerTiming([start]).header(0) == ""
