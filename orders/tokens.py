"""Secrets with which programs sign in: how they are made, and what is stored of them."""

import hashlib
import secrets

PREFIX = "concord_"  # by which a leaked token is recognized


def new_token() -> str:
    """Return a token nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return what is stored of a token.

    A plain digest is enough: 256 random bits cannot be guessed, unlike a password.
    """
    return hashlib.sha256(token.encode()).hexdigest()
