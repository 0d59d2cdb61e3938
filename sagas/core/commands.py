"""Commands: what a saga asks a context to do, and the two answers that are not a reply."""

from typing import Any, ClassVar, Generic, TypeVar, get_args

from sagas.core.errors import SagasError

R_co = TypeVar("R_co", covariant=True)


class Command(Generic[R_co]):
    """A request to one context, answered by a reply of type ``R_co``.

    Subclasses are frozen dataclasses with a stable ``name`` of the form ``context.Imperative``;
    the part before the dot is the context that carries it out. The name, not the class, is
    what crosses process borders, so code can be moved while messages are in flight.
    """

    __slots__ = ()

    name: ClassVar[str]


def context_of(name: str) -> str:
    """Return the context that owns a command, an event or a saga, from its name."""
    return name.partition(".")[0]


def reply_type(command: type[Command[Any]]) -> Any:
    """Return the reply type that a command class promises (``NoneType`` for none)."""
    for base in command.__dict__.get("__orig_bases__", ()):
        arguments = get_args(base)
        if arguments:
            return arguments[0]
    return type(None)


def type_name(of: Any) -> str:
    """Return how a type is written; a union has no ``__name__``."""
    return of.__name__ if isinstance(of, type) else str(of)


class Rejected(SagasError):
    """The participant said no, for a business reason; nothing of the step took effect.

    The one argument is a short stable code such as ``"out_of_stock"``. A rejection is never
    retried: the saga compensates.
    """

    @property
    def reason(self) -> str:
        """Return the code given by the participant."""
        return str(self.args[0])


class Unknown(SagasError):
    """Whether a remote call took effect cannot be known yet: ask again, never guess."""


class Postponed(SagasError):
    """Not now, through no fault of the saga: it waits, and the attempt is not counted."""

    wait: float = 0.0
    """Seconds until it makes sense to come again."""
