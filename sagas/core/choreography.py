"""A choreography: contexts that hear each other, each doing its part, with nobody in the middle.

It is declared so that somebody notices when a part is missing; nobody is told to do it.
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from datetime import timedelta
from typing import Any

from sagas.core.definition import InvalidDefinition, check_callable


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """One context that hears the event before it, does its part and tells the next event."""

    context: str
    tells: str = ""
    """The event that it publishes then; only the last hop tells nothing."""
    undo: Callable[[Any], None] | None = None
    """Takes the part back, and shuts the door on one that comes late; given the first event.

    Safe to repeat. That it ran is written down under its name.
    """

    @property
    def undo_name(self) -> str:
        """Return where the undo stands, as a dotted name; empty where there is none."""
        return f"{self.undo.__module__}.{self.undo.__qualname__}" if self.undo else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choreography:
    """A flow of events, and within what time its last hop is through.

    :raises InvalidDefinition: if it cannot be watched as it stands
    """

    name: str
    begins_with: str
    hops: tuple[Hop, ...]
    within: timedelta
    when: Callable[[Any], bool] | None = None
    """Whether the flow follows from this first event at all; else it always does."""
    redrives: int = 3
    """How often what is missing is delivered again before the flow is given up."""
    patience: timedelta = timedelta(minutes=1)
    """How long what was delivered again may take."""
    payloads: tuple[type, ...] = field(init=False)
    """What ``when`` and the undos read of the first event."""

    def __post_init__(self) -> None:
        """Refuse what could never be seen to its end."""
        if not self.hops:
            raise InvalidDefinition(f"{self.name}: a choreography has at least one hop")
        if any(not hop.tells for hop in self.hops[:-1]) or self.hops[-1].tells:
            raise InvalidDefinition(f"{self.name}: every hop but the last tells the next event")
        if self.within <= timedelta(0) or self.patience <= timedelta(0) or self.redrives < 0:
            raise InvalidDefinition(f"{self.name}: within and patience are more than 0")
        functions = [*filter(None, (self.when, *(hop.undo for hop in self.hops)))]
        payloads = tuple(payload_of(function, self.name) for function in functions)
        object.__setattr__(self, "payloads", payloads)
        undos = [hop.undo_name for hop in self.hops if hop.undo]
        if len(set(undos)) < len(undos):
            raise InvalidDefinition(f"{self.name}: each hop has an undo of a name of its own")

    @property
    def heard(self) -> tuple[str, ...]:
        """Return the event that each hop waits for."""
        return (self.begins_with, *(hop.tells for hop in self.hops[:-1]))

    @property
    def can_be_undone(self) -> bool:
        """Return whether giving the flow up takes back what was done."""
        return any(hop.undo is not None for hop in self.hops)


def payload_of(function: Callable[[Any], Any], where: str) -> type:
    """Return the dataclass that a function of the first event reads it into."""
    check_callable(function, 1, where)
    hints = typing.get_type_hints(function)
    hints.pop("return", None)
    payload = next(iter(hints.values()), None)
    if len(hints) != 1 or not (isinstance(payload, type) and is_dataclass(payload)):
        raise InvalidDefinition(f"{where}: {function.__qualname__} takes one dataclass, the event")
    return payload
