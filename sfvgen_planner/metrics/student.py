"""Quantiles of Student's t, for any real number of degrees of freedom, without scipy."""

import math
from functools import lru_cache

import numpy as np

from sfvgen_planner.errors import BadOption

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_HALVINGS = 60


def student_cdf(t: float, df: float) -> float:
    """P(T <= t), to about 1e-12 for df from 1 to 1e6.

    With t = sqrt(df) tan(angle) the density becomes cos(angle)^(df - 1): smooth, and bounded however heavy the tails.
    """
    angle = math.atan2(abs(t), math.sqrt(df))
    points = angle * (_NODES + 1) / 2
    area = angle / 2 * float(_WEIGHTS @ np.exp((df - 1) * np.log(np.cos(points))))
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(min(scale * area, 0.5), t)


@lru_cache(maxsize=1024)
def student_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = probability."""
    if not 0 < probability < 1 or df < 1:
        raise BadOption(
            f"probability {probability} with {df} degrees of freedom",
            "a probability in (0, 1) and at least 1 degree",
            "Intervals need two values or more.",
        )
    tail = max(probability, 1 - probability)
    low, high = 0.0, 1.0
    while student_cdf(high, df) < tail:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, df) < tail else (low, middle)
    return math.copysign((low + high) / 2, probability - 0.5)
