"""Upcasters: what an event of an old version says in words of the next one.

A stored payload is never changed. Whoever reads it gets it in the version they know, through one
upcaster for each step on the way; the oldest row there is stays readable for good.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from sagas.core.errors import SagasError

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]

UPCASTERS: dict[tuple[str, int], Upcaster] = {}


class NoUpcaster(SagasError):
    """No upcaster leads from the version that was written to the one that is asked for."""


class DoubleUpcaster(SagasError):
    """A version of an event has two upcasters."""


def upcasts(event: str, version: int) -> Callable[[Upcaster], Upcaster]:
    """Register what turns a payload of this version of an event into one of the next.

    The function returns a new payload and depends on nothing but the old one, so that a row says
    the same whenever it is read.
    """

    def register(function: Upcaster) -> Upcaster:
        if UPCASTERS.setdefault((event, version), function) is not function:
            raise DoubleUpcaster(f"{event} version {version}")
        return function

    return register


def leads(event: str, written: int, wanted: int) -> bool:
    """Return whether a payload of one version can be read as another."""
    return written <= wanted and all(
        (event, version) in UPCASTERS for version in range(written, wanted)
    )


def nearest(event: str, written: int, known: Iterable[int]) -> int | None:
    """Return the version in which a reader who knows these is given a row; None if in none.

    It is the one that was written, else the next later one that upcasters lead to.
    """
    return min((version for version in known if leads(event, written, version)), default=None)


def upcast(event: str, payload: Mapping[str, Any], written: int, wanted: int) -> Payload:
    """Return a payload as the wanted version has it; the one that was given stays as it is.

    :raises NoUpcaster: if the wanted version is older, or a step of the way is missing
    """
    if not leads(event, written, wanted):
        raise NoUpcaster(f"{event}: from version {written} to {wanted}")
    read = dict(payload)
    for version in range(written, wanted):
        read = UPCASTERS[event, version](deepcopy(read))
    return read
