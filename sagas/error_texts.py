"""What is kept of an error: a text that the database can hold, whatever the error says of itself.

An error often quotes what it stumbled over. PostgreSQL holds no zero byte and no half of a
surrogate pair; an error that could not be written down would not be counted either.
"""

import traceback


def text_of(error: BaseException) -> str:
    """Return the kind of an error and what it says."""
    try:
        said = str(error)
    except Exception as silent:  # noqa: BLE001 - it is somebody else's code, and may do anything
        said = f"<its text failed: {type(silent).__name__}>"
    return storable(f"{type(error).__name__}: {said}")


def trace_of(error: BaseException) -> str:
    """Return an error with the calls that led to it."""
    return storable("".join(traceback.format_exception(error)))


def storable(text: str) -> str:
    """Write what no text column holds as an escape."""
    return text.replace("\x00", r"\x00").encode(errors="backslashreplace").decode()
