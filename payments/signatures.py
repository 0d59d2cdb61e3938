"""Signatures of the provider's webhooks: HMAC-SHA256 over the instant and the raw body."""

import hashlib
import hmac
import re
from collections.abc import Sequence

TOLERANCE_SECONDS = 300
LONGEST_HEADER = 1000
_INSTANT = re.compile(r"[0-9]{1,12}")


class BadSignature(Exception):
    """The message is not the provider's, or too old to be believed."""


def verify(raw: bytes, header: str, *, secrets: Sequence[str], now: float) -> None:
    """Make sure that a message was signed with one of our secrets a short while ago.

    :param header: ``t=<unix>,v1=<hex>[,v1=<hex>]``; one good mark is enough, so that a secret
        can be replaced while both are in use
    :raises BadSignature: if it was not
    """
    instant, marks = _parse(header)
    if abs(now - int(instant)) > TOLERANCE_SECONDS:
        raise BadSignature("too old, or from the future")
    signed = instant.encode() + b"." + raw
    good = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for mark in marks:
            # No early exit: how long it takes tells nothing about which secret fits.
            good |= hmac.compare_digest(expected, mark.encode())
    if not good:
        raise BadSignature("no mark fits")


def _parse(header: str) -> tuple[str, list[str]]:
    if len(header) > LONGEST_HEADER:
        raise BadSignature("header too long")
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    instants = [value for name, value in pairs if name == "t"]
    marks = [value for name, value in pairs if name == "v1"]
    if len(instants) != 1 or not _INSTANT.fullmatch(instants[0]) or not marks:
        raise BadSignature("malformed header")
    return instants[0], marks
