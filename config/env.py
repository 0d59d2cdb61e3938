"""Typed readers of environment variables: nonsense is refused with the name and the remedy."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from django.core.exceptions import ImproperlyConfigured

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def env_text(name: str, default: str) -> str:
    """Return the variable, or the default where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def env_optional(name: str) -> str | None:
    """Return the variable, or nothing where it is unset or empty."""
    return os.environ.get(name, "").strip() or None


def env_bool(name: str, *, default: bool) -> bool:
    """Read a switch: 1, true, yes, on or 0, false, no, off."""
    text = env_text(name, "1" if default else "0").lower()
    if text not in _TRUE | _FALSE:
        raise _refused(name, text, "one of 1, true, yes, on or 0, false, no, off")
    return text in _TRUE


def env_int(name: str, default: int, *, least: int = 0) -> int:
    """Read a whole number that is not below the least one allowed."""
    text = env_text(name, str(default))
    try:
        number = int(text)
    except ValueError:
        raise _refused(name, text, f"a whole number from {least} up") from None
    if number < least:
        raise _refused(name, text, f"a whole number from {least} up")
    return number


def env_seconds(name: str, default: float) -> float:
    """Read a duration in seconds, above zero."""
    text = env_text(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        raise _refused(name, text, "a number of seconds such as 1.5") from None
    if not 0 < seconds < float("inf"):
        raise _refused(name, text, "a number of seconds above zero")
    return seconds


def env_choice(name: str, default: str, choices: Sequence[str]) -> str:
    """Read one of a few words."""
    text = env_text(name, default)
    if text not in choices:
        offer = ", ".join(repr(choice) for choice in choices)
        raise _refused(name, text, f"one of {offer}{nearest(text, choices)}")
    return text


def env_list(name: str, default: Sequence[str] = ()) -> list[str]:
    """Read comma-separated words; empty ones are left out."""
    words = [word.strip() for word in os.environ.get(name, "").split(",")]
    return [word for word in words if word] or list(default)


def env_secret(name: str, *, development: str | None) -> str:
    """Read a secret: development has a known one, everything else must be given its own."""
    if value := env_optional(name):
        return value
    if development is None:
        raise ImproperlyConfigured(
            f"{name} is not set and DEBUG is off: set {name} to a long random value, "
            "or DEBUG=1 for development"
        )
    return development


def nearest(word: str, known: Sequence[str]) -> str:
    """Word the guess at what was meant, or nothing."""
    close = get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _refused(name: str, text: str, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {text!r}: set it to {wanted}, or unset it")
