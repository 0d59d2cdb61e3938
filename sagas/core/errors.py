"""The root of every exception the engine raises on purpose."""


class SagasError(Exception):
    """The engine refused."""

    def __init__(self, message: str | None = None) -> None:
        """Take a message, else the docstring of the class."""
        # One positional argument only: exceptions with more do not survive pickling,
        # and Celery pickles what a task raises when it crosses a process border.
        super().__init__(message if message is not None else (self.__doc__ or "").strip())
