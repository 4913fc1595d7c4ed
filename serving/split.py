"""A share of a model's requests, for a version that is being tried."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """What a gateway does with a model's requests that name no version.

    Attributes:
        version: that gets some of them.
        percent: how many, from 0 to 100; the rest is for the version that serves.
    """

    version: str = ""
    percent: int = 0
