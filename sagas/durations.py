"""Lengths of time as people read them."""

from datetime import datetime, timedelta


def duration(length: timedelta) -> str:
    """Return a length of time with its two largest units, like ``3 min 5 s``."""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def relative(at: datetime, now: datetime) -> str:
    """Return how long ago an instant was, or how far ahead it is."""
    if at > now:
        return f"in {duration(at - now)}"
    return f"{duration(now - at)} ago"
