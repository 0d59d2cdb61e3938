"""Contexts may have databases of their own: one that is away keeps nothing from the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from django.db import Error


class Apart:
    """Goes on past the trouble of a database, and raises the first there was when all are done."""

    def __init__(self) -> None:
        """Begin without trouble."""
        self.trouble: Error | None = None

    @contextmanager
    def each(self) -> Iterator[None]:
        """Do something with one database; what it does not get done, the next tick does."""
        try:
            yield
        except Error as error:
            self.trouble = self.trouble or error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Raise what went wrong, unless something else is being raised."""
        if kind is None and self.trouble is not None:
            raise self.trouble
