"""What was meant to be reached, and whether it is."""

from dataclasses import dataclass
from typing import Any

from .measure import spread
from .stages import EXACT, FAST

TENSORS, PIL = "torchvision v2 on tensors", "torchvision on PIL"
SHARE_OF_COPY = 0.6


@dataclass(frozen=True)
class Target:
    """So many times as fast as a peer, with one thread."""

    kind: str
    size: tuple[int, int]
    peer: str
    wanted: float
    filter: str = "bilinear"
    ours: str = ""

    def reached(self, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        (job,) = (job for job in jobs if self._is_for(job))
        rounds = {row["name"]: row["rounds"] for row in job["contenders"]}
        ours = self.ours or job["contenders"][0]["name"]
        ratio = spread([a / b for a, b in zip(rounds[self.peer], rounds[ours], strict=True)])
        return {
            "what": f"{self._what()}, against {self.peer}",
            "wanted": self.wanted,
            "ratio": ratio,
            "reached": ratio["median"] >= self.wanted,
        }

    def _is_for(self, job: dict[str, Any]) -> bool:
        return (
            (job["kind"], tuple(job["size"]), job["threads"]) == (self.kind, self.size, 1)
            and job["filter"] in (self.filter, "")
            and not job["cold"]
        )

    def _what(self) -> str:
        size = f"{self.size[0]}x{self.size[1]}"
        if self.kind == "normalize":
            return f"64 of {size}, normalized"
        if self.ours:
            return (
                f"{size}, from JPEG, {'decoded exactly' if self.ours == EXACT else 'decoded fast'}"
            )
        return f"{size}, {self.filter}"


TARGETS = (
    Target("batch", (500, 375), TENSORS, 9),
    Target("batch", (500, 375), PIL, 25),
    Target("batch", (1920, 1080), TENSORS, 6),
    Target("batch", (1920, 1080), PIL, 25),
    Target("batch", (4032, 3024), TENSORS, 3),
    Target("batch", (4032, 3024), PIL, 15),
    Target("batch", (500, 375), TENSORS, 5, "bicubic"),
    Target("batch", (500, 375), PIL, 20, "bicubic"),
    Target("batch", (500, 375), TENSORS, 5, "lanczos"),
    Target("batch", (500, 375), PIL, 20, "lanczos"),
    Target("normalize", (32, 32), TENSORS, 100),
    Target("normalize", (32, 32), PIL, 100),
    Target("from JPEG", (500, 375), PIL, 4, ours=EXACT),
    Target("from JPEG", (1920, 1080), PIL, 2, ours=EXACT),
    Target("from JPEG", (1920, 1080), PIL, 3, ours=FAST),
)


def compare(jobs: list[dict[str, Any]], memory: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every target with what was measured; the one of memory last."""
    (share,) = (row["share_of_copy"] for row in memory if row["name"] == "4032x3024")
    return [target.reached(jobs) for target in TARGETS] + [
        {
            "what": "4032x3024, bilinear, as a share of the speed of copying memory",
            "wanted": SHARE_OF_COPY,
            "ratio": share,
            "reached": share["median"] >= SHARE_OF_COPY,
        }
    ]
