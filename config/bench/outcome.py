"""What every measurement ends with: figures, or a word why there are none."""

from itertools import pairwise
from statistics import median
from typing import Final

PATIENCE: Final = 120.0
"""Seconds for what is measured to come to its end."""


class Wrong(Exception):
    """Something did not end as it had to, so the figures would mean nothing."""


def quantile(values: list[float], part: float) -> float:
    """Return the value below which a part of the values lies, between two of them linearly."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * part
    for number, (low, high) in enumerate(pairwise(ordered)):
        if number <= place <= number + 1:
            return low + (high - low) * (place - number)
    return ordered[0]


def middle(values: list[float]) -> float:
    """Return the median."""
    return float(median(values))
