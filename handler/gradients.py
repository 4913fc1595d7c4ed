"""How much each number of an image moved a network's score.

Integrated gradients: Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017,
https://arxiv.org/abs/1703.01365
"""

from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from .errors import RequestError

# Points on the way from the baseline to the image. Odd, as then the one in the middle is a point of
# the rule whatever their number, which is chosen by how long that one took.
MIN_STEPS, MAX_STEPS = 9, 31
# Of the time that is left, what is planned with: not every step takes as long as the first.
PLANNED = 0.75


def integrated_gradients(
    score: Callable[[Tensor], Tensor], image: Tensor, deadline: float
) -> tuple[Tensor, int]:
    """Attributions that add up to the image's score less the baseline's, up to the rule's error.

    The baseline is zero everywhere: after a normalization, the image of the mean color. The rule is
    Gauss-Legendre's, which needs few steps where the score is smooth.

    Args:
        score: of ``(1, C, height, width)`` numbers one number, by operators with a gradient.
        image: ``(1, C, height, width)`` float32, as the network takes it.
        deadline: as ``perf_counter`` has it. As many steps are taken as fit before, from
            :data:`MIN_STEPS` to :data:`MAX_STEPS`.

    Returns:
        attributions, as the image's shape, float32 on the CPU; and the number of steps.

    Raises:
        RequestError: 503, even the fewest steps do not fit.
    """

    def gradient(share: float) -> Tensor:
        point = (share * image).requires_grad_()
        # A copy, as a network may begin with what changes its input in place.
        (found,) = torch.autograd.grad(score(point.clone()).sum(), point)
        return found.cpu()  # waits for a GPU

    began = perf_counter()
    middle = gradient(0.5)
    took = perf_counter() - began
    pairs = min(MAX_STEPS // 2, PLANNED * (deadline - perf_counter()) / took / 2)
    # The fewest are tried in any case, as the first may have waited for what else the machine does.
    steps = max(MIN_STEPS, 1 + 2 * int(pairs))
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(middle)
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        if perf_counter() > deadline:
            raise too_slow()
        # From the interval of -1 to 1 to that of 0 to 1.
        total += weight / 2 * (gradient((point + 1) / 2) if point else middle)
    return image.cpu() * total, steps


def too_slow() -> RequestError:
    """That there is no time for the fewest steps."""
    return RequestError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"an explanation takes at least {MIN_STEPS} passes through the network, which take longer "
        "than the time that there is for it; try again when the server has less to do, or give its "
        "workers more threads",
    )
