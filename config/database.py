"""How a database address becomes Django's settings for one alias."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINE = "config.postgresql"


def database_settings(
    name: str, url: str, *, max_age: int, prepared: bool = True
) -> dict[str, Any]:
    """Read a postgresql:// address, as libpq does, into the settings of an alias."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if not url.startswith(("postgresql://", "postgres://")):
        raise ImproperlyConfigured(
            f"{name} has to be an address of PostgreSQL: postgresql://user:password@host:5432/name"
        )
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        raise ImproperlyConfigured(f"{name} is no address of PostgreSQL: {error}") from None
    if not parts.get("dbname"):
        raise ImproperlyConfigured(f"{name} names no database: add it after the host, as in /name")
    return {
        "ENGINE": ENGINE,
        "NAME": parts.pop("dbname"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        # A dead server must be noticed in seconds, not after the system's own two hours.
        "OPTIONS": {
            "connect_timeout": "3",
            "keepalives_idle": "10",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            # While a question is on its way no keepalive is: it is sent again for 15 minutes.
            "tcp_user_timeout": "25000",
            # For the engine's own cursors; Django's never prepare a statement.
            "prepare_threshold": 0 if prepared else None,
            **parts,
        },
        "CONN_MAX_AGE": max_age,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
    }


def context_urls(
    url: str, contexts: Sequence[str], *, detached: bool, given: Mapping[str, str | None]
) -> dict[str, str]:
    """Say which contexts have a database of their own, and where it is.

    :param url: the address of the engine's database
    :param detached: also those without an address of their own: ``<name>_<context>`` beside it
    """
    beside = {
        context: with_name(url, f"{database_name(url)}_{context}")
        for context in contexts
        if detached
    }
    return beside | {context: own for context, own in given.items() if own}


def database_name(url: str) -> str:
    """Read the name of the database out of an address."""
    return unquote(urlsplit(url).path.lstrip("/"))


def with_name(url: str, name: str) -> str:
    """Give the address of another database on the same server."""
    parts = urlsplit(url)
    # By hand, since urlunsplit would drop the empty host of postgresql://user@/name?host=...
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{quote(name)}{query}"
