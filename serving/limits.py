"""What clients may ask of a gateway."""

from dataclasses import dataclass

# Bytes of requests that are not small: where each size ends, in nginx.conf by the number of digits,
# and for the last one what is allowed by default.
LARGER = {"MIDDLING": 1_000_000, "LARGE": 5_000_000, "VERY_LARGE": 20_000_000}


@dataclass(frozen=True)
class Limits:
    """What clients may ask of a gateway.

    Attributes:
        body: the largest request, as nginx writes sizes.
        rate: requests a second of each client, on average; above it there is a 429.
        burst: how far a client may be ahead of that.
        in_flight: how many requests of less than 100 kB TorchServe has at a time, of all clients
            and models; more get a 429. Its queue should hold them, or it answers some with a 503.
        memory: MB of requests that TorchServe has at a time. It ends when its heap, of which it
            takes four to five times as much for them, is full. Small, middling, large and very
            large requests (:data:`LARGER`) get a quarter each, so that none keeps out the others.
        answer: seconds that an answer may take.
        connections: that an address may be answered on at a time; more get a 429.
    """

    body: str = "20m"
    rate: int = 1000
    burst: int = 1000
    in_flight: int = 200
    memory: int = 100
    answer: int = 60
    connections: int = 1000

    def places(self) -> dict[str, int]:
        """How many requests of each size there are at a time, by its name in nginx.conf."""
        share = self.memory * 1_000_000 // (len(LARGER) + 1)
        larger = {f"PLACES_{name}": max(2, share // size) for name, size in LARGER.items()}
        return {"IN_FLIGHT": self.in_flight, **larger}
