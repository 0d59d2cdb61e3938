"""Messages of a broker that is a list."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Message:
    """What is left of a chain, on its way to a worker."""

    links: list[Any]
    errbacks: list[Any]

    @classmethod
    def of(cls, signature):
        links = list(getattr(signature, "tasks", None) or [signature])
        return cls(links, list(signature.options.get("link_error") or []))

    def __str__(self):
        return " ".join([self.links[0].task.removeprefix("sagas."), *map(_short, self.args)])

    @property
    def args(self):
        return self.links[0].args or ()


def _short(argument):
    return str(argument)[-4:] if isinstance(argument, str) else str(argument)
